//! The package, and the service as it was installed.

use std::{collections::BTreeSet, fs, path::Path};

use cri::VersionRequest;

use crate::{
    documents,
    node::{SERVICE, SOCKET_UNIT, STATE, cri, property, read, recovers, run, run_pod},
};

/// As `tests/vm/run.sh` has brought it.
pub(crate) const PACKAGE: &str = "/payload/dockside.deb";

/// What was there before the package.
const BEFORE: &str = "/var/lib/vm-tests/before";

/// Everything below the directories that a package may touch, but for what others keep there.
fn files() -> BTreeSet<String> {
    const OTHERS: &[&str] = &[
        "/var/lib/apt",
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
    documents::install(PACKAGE);
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

/// Fails if anything of the package is left once it is purged.
pub(crate) fn nothing_is_left() {
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
