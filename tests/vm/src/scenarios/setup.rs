//! The service as it was installed.

use cri::VersionRequest;

use crate::node::{SERVICE, cri, property, recovers, run_pod};

/// systemd holds the socket; who calls there first has the service started.
pub(crate) async fn the_first_call_starts_the_service() {
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
