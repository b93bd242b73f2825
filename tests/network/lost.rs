//! Pods that somebody else has ended.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use cri::PodSandboxState;
use serde_json::json;
use support::{Daemon, Engine, eventually};

use super::{
    net::{bridge, remove, set_network, stop},
    ports::{free_port, mapping},
    traces::{Traces, no_traces},
};

/// A daemon whose pods have everything that can be left behind.
async fn daemon() -> Daemon {
    let daemon = support::daemon!().network(json!(null)).start().await;
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    set_network(&daemon, &[bridge(&daemon), portmap]).await;
    daemon
}

async fn run(daemon: &Daemon) -> String {
    let mut pod = daemon.pod("lost");
    pod.port_mappings = vec![mapping(cri::Protocol::Tcp, "", free_port(), 80)];
    let sandbox = daemon.run_pod(&pod).await;
    let traces = Traces::of(daemon);
    assert_eq!(
        [
            traces.pins.len(),
            traces.cached.len(),
            traces.leases.len(),
            traces.veths.len()
        ],
        [1; 4]
    );
    assert!(!traces.rules.is_empty());
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_pause_process_was_killed_is_taken_down() {
    let daemon = daemon().await;
    let sandbox = run(&daemon).await;
    let pid = Engine::get().inspect(&sandbox)["State"]["Pid"].as_i64().unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(killed.unwrap().success());
    eventually("the Engine notices", Duration::from_secs(10), || {
        (Engine::get().inspect(&sandbox)["State"]["Running"] == false).then_some(())
    });
    assert_eq!(
        daemon.sandbox_status(&sandbox).await.state(),
        PodSandboxState::SandboxNotready
    );
    assert_eq!(
        Traces::of(&daemon).pins.len(),
        1,
        "plugins are to be given the namespace"
    );
    stop(&daemon, &sandbox).await;
    let traces = Traces::of(&daemon);
    assert_eq!(
        traces,
        Traces {
            containers: traces.containers.clone(),
            ..Traces::default()
        }
    );
    remove(&daemon, &sandbox).await;
    no_traces(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_of_a_pod_that_was_removed_by_hand_is_taken_down_at_the_next_start() {
    let mut daemon = daemon().await;
    let sandbox = run(&daemon).await;
    let kept = daemon.run_pod(&daemon.pod("kept")).await;
    daemon.stop();
    Engine::get().remove(&sandbox);
    daemon.start_again().await;
    tokio::task::block_in_place(|| {
        eventually("the network is taken down", Duration::from_secs(30), || {
            let traces = Traces::of(&daemon);
            (traces.rules.is_empty() && traces.pins.len() == 1 && traces.leases.len() == 1).then_some(())
        });
    });
    // That of the other one is not.
    let ip = daemon.sandbox_status(&kept).await.network.unwrap().ip;
    let leases = Traces::of(&daemon).leases;
    assert_eq!(leases.into_iter().collect::<Vec<_>>(), std::slice::from_ref(&ip));
    assert!(ip.parse::<SocketAddr>().is_err());
    remove(&daemon, &kept).await;
    no_traces(&daemon);
}

/// While the daemon runs: the kubelet, which has seen the sandbox, stops and removes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_removed_by_hand_is_taken_down_when_it_is_stopped() {
    let daemon = daemon().await;
    // Whether the daemon has noticed before or not.
    for noticed in [false, true] {
        let sandbox = run(&daemon).await;
        Engine::get().remove(&sandbox);
        let status = || cri::PodSandboxStatusRequest {
            pod_sandbox_id: sandbox.clone(),
            verbose: false,
        };
        let began = Instant::now();
        while noticed && daemon.runtime().pod_sandbox_status(status()).await.is_ok() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "the daemon does not notice"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop(&daemon, &sandbox).await;
        remove(&daemon, &sandbox).await;
        no_traces(&daemon);
    }
}
