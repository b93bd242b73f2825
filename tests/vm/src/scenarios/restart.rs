//! dockside ends and comes back while pods run.

use super::setup::PACKAGE;
use crate::{
    documents,
    logs::{counted, counts_beyond},
    node::{Pod, SERVICE, cri, lists, property, recovers, run, run_pod},
};

/// Runs `end`, after which the service is to be there again, and compares before and after.
async fn nothing_changes(pod: &Pod, end: impl FnOnce()) {
    counts_beyond(&pod.log, 5).await;
    let (before, processes) = (lists().await, pod.processes());
    assert!(!before.0.is_empty() && !before.1.is_empty());
    let main = property(SERVICE, "MainPID");
    end();
    recovers().await;
    assert_ne!(property(SERVICE, "MainPID"), main);
    assert_eq!(lists().await, before);
    assert_eq!(pod.processes(), processes);
    counts_beyond(&pod.log, counted(&pod.log) + 10).await;
    assert_eq!(cri().sh(&pod.container, "echo here").await, "here");
}

pub(crate) async fn a_restart_of_dockside_changes_nothing() {
    let pod = run_pod("restarted", |_| {}).await;
    nothing_changes(&pod, || {
        run(&["systemctl", "restart", SERVICE]);
    })
    .await;
    // While nobody is there, pods go on; the next call finds the service started.
    nothing_changes(&pod, || {
        run(&["systemctl", "stop", SERVICE]);
    })
    .await;
    // An upgrade, as far as the package goes, which does not look at what has changed.
    nothing_changes(&pod, || documents::install(&format!("--reinstall {PACKAGE}"))).await;
    pod.remove().await;
}

pub(crate) async fn a_killed_dockside_comes_back() {
    let pod = run_pod("killed", |_| {}).await;
    nothing_changes(&pod, || {
        run(&["systemctl", "kill", "--kill-who=main", "--signal=KILL", SERVICE]);
    })
    .await;
    pod.remove().await;
}
