//! The Engine ends and comes back.

use std::{fs, time::Instant};

use cri::{ContainerState, PodSandboxState};
use serde_json::Value;
use support::eventually;

use crate::{
    logs::{counted, counts_beyond},
    node::{PATIENCE, Pod, SERVICE, cri, engine, property, read, ready, recovers, run, run_pod},
};

/// Restarts the Engine; dockside is the same process before and after, and says meanwhile that nothing can be run.
async fn restart() {
    let main = property(SERVICE, "MainPID");
    run(&["systemctl", "reset-failed", "docker.service"]);
    run(&["systemctl", "--no-block", "restart", "docker.service"]);
    let mut away = 0;
    // Until the new one is there: the old one may answer for a while.
    let end = Instant::now() + PATIENCE;
    loop {
        let asked = Instant::now();
        let answer = ready().await;
        assert!(
            asked.elapsed().as_secs() < 30,
            "Status is late: {:?}",
            asked.elapsed()
        );
        match answer {
            Err(_) => away += 1,
            Ok(()) if away > 0 => break,
            Ok(()) => assert!(Instant::now() < end, "the Engine does not go away"),
        }
        assert!(Instant::now() < end, "the Engine does not come back");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    recovers().await;
    assert_eq!(property(SERVICE, "MainPID"), main);
}

/// Switches live-restore, which the Engine takes without a restart.
fn live_restore(on: bool) {
    const FILE: &str = "/etc/docker/daemon.json";
    let mut options: Value = serde_json::from_str(&read(FILE)).unwrap();
    options["live-restore"] = on.into();
    fs::write(FILE, options.to_string()).unwrap();
    run(&["systemctl", "reload", "docker.service"]);
    eventually("the Engine has read its options again", PATIENCE, || {
        let info = engine().ask("GET", "/info", None);
        (info["LiveRestoreEnabled"] == on).then_some(())
    });
}

async fn sandbox_state(pod: &Pod) -> PodSandboxState {
    cri().sandbox_status(&pod.sandbox).await.state()
}

pub(crate) async fn a_restart_of_the_engine_ends_pods() {
    let pod = run_pod("ended", |_| {}).await;
    counts_beyond(&pod.log, 5).await;
    restart().await;
    assert_eq!(pod.state().await, ContainerState::ContainerExited);
    assert_eq!(sandbox_state(&pod).await, PodSandboxState::SandboxNotready);
    assert!(counted(&pod.log) > 5);
    pod.remove().await;
    let next = run_pod("next", |_| {}).await;
    counts_beyond(&next.log, 5).await;
    next.remove().await;
}

pub(crate) async fn with_live_restore_pods_outlive_the_engine() {
    live_restore(true);
    let pod = run_pod("survivor", |_| {}).await;
    counts_beyond(&pod.log, 5).await;
    let processes = pod.processes();
    restart().await;
    assert_eq!(pod.processes(), processes);
    assert_eq!(pod.state().await, ContainerState::ContainerRunning);
    assert_eq!(sandbox_state(&pod).await, PodSandboxState::SandboxReady);
    counts_beyond(&pod.log, counted(&pod.log) + 10).await;
    assert_eq!(cri().sh(&pod.container, "echo here").await, "here");
    pod.remove().await;
    live_restore(false);
}
