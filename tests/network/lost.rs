//! Pods that somebody else has ended.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use cri::PodSandboxState;
use serde_json::json;
use support::{Action, Call, Daemon, Engine, EngineProxy, Options, Rule, eventually};

use super::{
    net::{bridge, remove, set_network, stop},
    ports::{free_port, mapping},
    traces::{Traces, no_traces},
};

/// A daemon whose pods have everything that can be left behind.
async fn daemon() -> Daemon {
    daemon_of(support::daemon!()).await
}

async fn daemon_of(options: Options) -> Daemon {
    let daemon = options.network(json!(null)).start().await;
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
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
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
    // cri-dockerd, which knows no pins, has taken down and removed another one.
    let forgotten = daemon.run_pod(&daemon.pod("forgotten")).await;
    daemon.stop();
    Engine::get().remove(&sandbox);
    Engine::get().remove(&forgotten);
    let name = format!("{}-{forgotten}-eth0", daemon.name());
    std::fs::remove_file(daemon.dir().join("cache/results").join(name)).unwrap();
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

/// The Engine fails at first, and no network is configured any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tidied_up_at_the_start_is_tried_again() {
    let proxy = EngineProxy::start();
    let mut daemon = daemon_of(support::daemon!().engine(proxy.socket())).await;
    let sandbox = run(&daemon).await;
    daemon.stop();
    Engine::get().remove(&sandbox);
    std::fs::remove_file(daemon.dir().join("cni/10-test.conflist")).unwrap();
    let broken = Action::Answer(500, json!({ "message": "out of luck" }));
    let lists = |call: &Call| call.path.contains("/containers/json") && call.path.contains("podsandbox");
    proxy.rule(Rule::when(lists, broken).times(3));
    daemon.start_again().await;
    tokio::task::block_in_place(|| {
        eventually("the network is taken down", Duration::from_secs(30), || {
            let traces = Traces::of(&daemon);
            (traces == Traces::default()).then_some(())
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_of_a_pod_that_was_removed_by_hand_is_taken_down_without_being_asked() {
    let options = support::daemon!().flag("--store-check-interval=1s");
    let daemon = daemon_of(options).await;
    let lost = run(&daemon).await;
    let pin = |id: &str| Path::new("/run/netns").join(format!("dockside-{id}"));
    // Something of it runs on, to which the network belongs.
    let net = format!("--net={}", pin(&lost).display());
    let mut inside = Command::new("nsenter")
        .args([net.as_str(), "sleep", "1000"])
        .spawn()
        .unwrap();
    // A pod of another dockside's, whose Engine is another: only its process and its record are seen from here.
    let foreign = format!("{:064x}", std::process::id());
    let mut living = Command::new("unshare")
        .args(["--net", "sleep", "1000"])
        .spawn()
        .unwrap();
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
    let pid = living.id().to_string();
    tokio::task::block_in_place(|| {
        eventually("it has a namespace", Duration::from_secs(30), || {
            (namespace(&pid) != namespace("self")).then_some(())
        });
    });
    std::fs::write(pin(&foreign), "").unwrap();
    let bound = Command::new("mount")
        .args(["--bind", &format!("/proc/{pid}/ns/net")])
        .arg(pin(&foreign))
        .status();
    assert!(bound.unwrap().success());
    let results = daemon.dir().join("cache/results");
    let record = |id: &str| results.join(format!("{}-{id}-eth0", daemon.name()));
    let text = std::fs::read_to_string(record(&lost)).unwrap();
    std::fs::write(record(&foreign), text.replace(&lost, &foreign)).unwrap();

    Engine::get().remove(&lost);
    // Another one that is lost shows that all were looked at.
    let quiet = daemon.run_pod(&daemon.pod("quiet")).await;
    Engine::get().remove(&quiet);
    tokio::task::block_in_place(|| {
        let limit = Duration::from_secs(30);
        eventually("the network is taken down", limit, || {
            (!pin(&quiet).exists()).then_some(())
        });
        assert!(pin(&lost).exists() && record(&lost).exists());
        assert!(pin(&foreign).exists() && record(&foreign).exists());
        for process in [&mut inside, &mut living] {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        eventually("nothing is left", limit, || {
            (!pin(&lost).exists() && !pin(&foreign).exists()).then_some(())
        });
    });
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
