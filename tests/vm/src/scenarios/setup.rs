//! The package, and the service as it was installed.

use std::{collections::BTreeSet, fs, path::Path};

use cri::VersionRequest;

use crate::{
    logs::counts_beyond,
    node::{SERVICE, SOCKET, SOCKET_UNIT, STATE, cri, lists, property, read, recovers, run, run_pod},
};

/// As `tests/vm/run.sh` has brought it.
const PACKAGE: &str = "/payload/dockside.deb";

/// What was there before the package.
const BEFORE: &str = "/var/lib/vm-tests/before";

/// Everything below the directories that a package may touch, but for what others keep there.
fn files() -> BTreeSet<String> {
    const OTHERS: &[&str] = &[
        "/var/lib/dpkg",
        "/var/lib/docker",
        "/var/lib/containerd",
        "/var/lib/cni",
        STATE,
    ];
    let mut found = BTreeSet::new();
    let mut left = ["/etc", "/usr", "/var/lib", "/opt"].map(Into::into).to_vec();
    while let Some(directory) = left.pop() {
        let directory: std::path::PathBuf = directory;
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if OTHERS.iter().any(|other| path == Path::new(other)) {
                continue;
            }
            found.insert(path.display().to_string());
            if entry.file_type().unwrap().is_dir() {
                left.push(path);
            }
        }
    }
    found
}

/// The package starts to serve by itself.
pub(crate) async fn the_package_is_installed() {
    let before: Vec<_> = files().into_iter().collect();
    fs::write(BEFORE, before.join("\n")).unwrap();
    run(&["dpkg", "--install", PACKAGE]);
    assert_eq!(property(SERVICE, "ActiveState"), "active");
    assert_eq!(property(SOCKET_UNIT, "ActiveState"), "active");
    for unit in [SERVICE, SOCKET_UNIT] {
        assert_eq!(property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    // As an administrator would who has a registry of his own.
    fs::write(
        "/etc/dockside/config.d/node.toml",
        "pod-infra-container-image = \"127.0.0.1:5000/pause:3.10\"\nlog-level = \"debug\"\n",
    )
    .unwrap();
    run(&["systemctl", "restart", SERVICE]);
    recovers().await;
}

/// systemd holds the socket; who calls there first has the service started.
pub(crate) async fn the_first_call_starts_the_service() {
    run(&["systemctl", "stop", SERVICE]);
    assert_eq!(property(SERVICE, "ActiveState"), "inactive");
    let version = cri().runtime().version(VersionRequest::default()).await;
    assert_eq!(version.unwrap().into_inner().runtime_name, "docker");
    assert_eq!(property(SERVICE, "ActiveState"), "active");
    recovers().await;
    let pod = run_pod("first", |_| {}).await;
    let cri = cri();
    assert_eq!(cri.sh(&pod.container, "hostname; id -u").await, "first\n0");
    let address = cri.sandbox_status(&pod.sandbox).await.network.unwrap().ip;
    let inside = cri.sh(&pod.container, "ip -4 -o addr show dev eth0").await;
    assert!(
        !address.is_empty() && inside.contains(&address),
        "{address}: {inside}"
    );
    pod.remove().await;
}

/// Pods do not notice that the package goes and comes; once purged, nothing of it is left.
pub(crate) async fn pods_outlive_the_package_and_a_purge_leaves_nothing() {
    let pod = run_pod("outlives", |_| {}).await;
    counts_beyond(&pod.log, 2).await;
    let (before, processes) = (lists().await, pod.processes());
    run(&["dpkg", "--remove", "dockside"]);
    assert!(!Path::new(SOCKET).exists());
    assert!(
        Path::new("/etc/dockside/config.toml").exists(),
        "what an administrator wrote stays"
    );
    assert_eq!(pod.processes(), processes);
    run(&["dpkg", "--install", PACKAGE]);
    recovers().await;
    assert_eq!(lists().await, before);
    assert_eq!(pod.processes(), processes);
    assert_eq!(cri().sh(&pod.container, "echo here").await, "here");
    pod.remove().await;
    run(&["dpkg", "--purge", "dockside"]);
    let before: BTreeSet<_> = read(BEFORE).lines().map(str::to_owned).collect();
    let left: Vec<_> = files().difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
    let units = run(&[
        "systemctl",
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "dockside*",
    ]);
    assert_eq!(units, "");
    let running = fs::read_dir("/run")
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let running: Vec<_> = running
        .filter(|name| {
            name.to_string_lossy().contains("dockside") || name.to_string_lossy().contains("cri-dockerd")
        })
        .collect();
    assert!(running.is_empty(), "{running:?}");
}
