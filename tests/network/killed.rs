//! dockside is killed in the middle of RunPodSandbox.

use std::time::Duration;

use serde_json::json;
use support::eventually;

use super::{
    net::{Plugins, bridge, remove, sandboxes, set_network, stop, try_run},
    traces::{Traces, no_traces},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_was_half_made_when_dockside_was_killed_can_be_removed() {
    let plugins = Plugins::new("killed");
    let mut daemon = support::daemon!()
        .network(json!(null))
        .flag(plugins.flag())
        .start()
        .await;
    let pids = plugins.path("pids");
    plugins.write("stub", &format!("echo $$ >{}; exec sleep 1000", pids.display()));
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    set_network(&daemon, &[bridge(&daemon), portmap, json!({ "type": "stub" })]).await;
    let mut pod = daemon.pod("half");
    pod.port_mappings = vec![super::ports::mapping(
        cri::Protocol::Tcp,
        "",
        super::ports::free_port(),
        80,
    )];
    let (mut runtime, config) = (daemon.runtime(), Some(pod.clone()));
    let running = tokio::spawn(async move {
        let request = cri::RunPodSandboxRequest {
            config,
            ..Default::default()
        };
        runtime.run_pod_sandbox(request).await.map(drop)
    });
    let pid = tokio::task::block_in_place(|| {
        eventually("the plugin hangs", Duration::from_secs(30), || {
            std::fs::read_to_string(&pids)
                .ok()
                .filter(|text| text.ends_with('\n'))
        })
    });
    daemon.kill();
    running.await.unwrap().unwrap_err();
    // It was in a process group of its own, and would go on for ever.
    std::process::Command::new("kill")
        .args(["-9", pid.trim()])
        .status()
        .unwrap();
    let left = Traces::of(&daemon);
    assert!(
        left.pins.len() == 1 && left.containers.len() == 1 && !left.rules.is_empty(),
        "{left:?}"
    );

    plugins.write("stub", "jq .prevResult");
    daemon.start_again().await;
    // As the kubelet does: what is listed and has no address is stopped, a new attempt is made, the old one removed.
    let listed = sandboxes(&daemon).await;
    assert_eq!(listed.len(), 1);
    let old = &listed[0].id;
    let status = daemon.sandbox_status(old).await;
    assert_eq!(
        status.state(),
        cri::PodSandboxState::SandboxNotready,
        "it has no network"
    );
    stop(&daemon, old).await;
    pod.metadata.as_mut().unwrap().attempt = 1;
    let new = try_run(&daemon, &pod).await.unwrap();
    remove(&daemon, old).await;
    assert_eq!(Traces::of(&daemon).pins.len(), 1);
    remove(&daemon, &new).await;
    no_traces(&daemon);
}
