//! The machine ends and comes back.

use std::{fs, path::Path};

use cri::{ContainerState, PodSandboxState};
use serde_json::{Value, json};

use crate::{
    logs::{counted, counts_beyond},
    node::{cri, engine, lists, read, recovers, remove_sandbox, run, run_pod, text},
};

/// What one boot leaves for the next to look at.
const LEFT: &str = "/var/lib/vm-tests/left.json";

/// Leaves a running pod behind.
pub(crate) async fn a_pod_is_left() {
    let pod = run_pod("left", |_| {}).await;
    counts_beyond(&pod.log, 5).await;
    let left = json!({
        "sandbox": pod.sandbox,
        "container": pod.container,
        "log": pod.log,
        "labels": pod.config.labels,
        "boot": read("/proc/sys/kernel/random/boot_id"),
        "count": counted(&pod.log),
    });
    fs::write(LEFT, left.to_string()).unwrap();
    // Also for a boot that comes after a loss of power.
    run(&["sync"]);
}

pub(crate) async fn pods_of_the_boot_before_are_over() {
    let left: Value = serde_json::from_str(&read(LEFT)).unwrap();
    assert_ne!(read("/proc/sys/kernel/random/boot_id"), text(&left["boot"]));
    recovers().await;
    let (sandboxes, containers) = lists().await;
    let [sandbox] = &sandboxes[..] else {
        panic!("{sandboxes:?}")
    };
    let [container] = &containers[..] else {
        panic!("{containers:?}")
    };
    assert_eq!(
        (sandbox.id.as_str(), sandbox.state()),
        (text(&left["sandbox"]), PodSandboxState::SandboxNotready)
    );
    assert_eq!(json!(sandbox.labels), left["labels"]);
    assert_eq!(
        (container.id.as_str(), container.state()),
        (text(&left["container"]), ContainerState::ContainerExited)
    );
    let status = cri().container_status(&container.id).await;
    assert!(
        status.finished_at >= status.started_at && status.started_at > 0,
        "{status:?}"
    );
    // All that the Engine's log has is in the pod's.
    let log = Path::new(text(&left["log"]));
    assert!(counted(log) >= left["count"].as_u64().unwrap());
    let engines = read(text(&engine().inspect(&container.id)["LogPath"]));
    assert_eq!(read(log).lines().count(), engines.lines().count());
    remove_sandbox(&sandbox.id).await;
    let (sandboxes, containers) = lists().await;
    assert!(
        sandboxes.is_empty() && containers.is_empty(),
        "{sandboxes:?} {containers:?}"
    );
    assert_eq!(engine().named("k8s_").len(), 0);
    for place in [
        "/run/netns",
        "/var/lib/cni/networks/node",
        "/var/lib/cni/results",
        "/var/lib/cni/cache/results",
    ] {
        let names: Vec<_> = fs::read_dir(place)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        // host-local's own files.
        assert!(
            names
                .iter()
                .all(|name| name == "lock" || name.starts_with("last_reserved_ip")),
            "{place}: {names:?}"
        );
    }
    let pod = run_pod("new", |_| {}).await;
    counts_beyond(&pod.log, 5).await;
    pod.remove().await;
}
