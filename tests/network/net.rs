//! Networks for the tests, and talking over them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use cri::{
    PodSandboxConfig, RemovePodSandboxRequest, RunPodSandboxRequest, RuntimeCondition, StatusRequest,
    StopPodSandboxRequest,
};
use serde_json::{Value, json};
use support::{Daemon, container_of};
use tonic::Status;

/// The bridge plugin on the daemon's bridge and address range.
pub(crate) fn bridge(daemon: &Daemon) -> Value {
    json!({
        "type": "bridge",
        "bridge": daemon.bridge(),
        "isGateway": true,
        "ipam": {
            "type": "host-local",
            "dataDir": daemon.dir().join("leases"),
            "ranges": [[{ "subnet": daemon.subnet() }]],
        },
    })
}

/// The beginning of an IPv6 range of the daemon's own.
pub(crate) fn prefix6(daemon: &Daemon) -> String {
    let subnet = daemon.subnet();
    let bytes: Vec<&str> = subnet.split('.').collect();
    format!("fd00:{}:{}:", bytes[1], bytes[2])
}

/// Writes the daemon's CNI configuration.
pub(crate) fn write_network(daemon: &Daemon, plugins: &[Value]) {
    let conflist = json!({ "cniVersion": "0.4.0", "name": daemon.name(), "plugins": plugins });
    std::fs::write(daemon.dir().join("cni/10-test.conflist"), conflist.to_string()).unwrap();
}

/// The same, and waits until the daemon has noticed it.
pub(crate) async fn set_network(daemon: &Daemon, plugins: &[Value]) {
    let file = daemon.dir().join("cni/10-test.conflist");
    if file.exists() {
        std::fs::remove_file(file).unwrap();
        network_ready(daemon, false).await;
    }
    write_network(daemon, plugins);
    network_ready(daemon, true).await;
}

/// Waits until the network is ready, or not; returns the condition. That the kernel tells of changes, long before the
/// poll would, is proved in `src/cni/tests/watch.rs`.
pub(crate) async fn network_ready(daemon: &Daemon, wanted: bool) -> RuntimeCondition {
    let began = std::time::Instant::now();
    loop {
        let condition = condition(daemon, "NetworkReady").await;
        if condition.status == wanted {
            return condition;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{condition:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn condition(daemon: &Daemon, kind: &str) -> RuntimeCondition {
    let answer = daemon.runtime().status(StatusRequest { verbose: false }).await;
    let conditions = answer.unwrap().into_inner().status.unwrap().conditions;
    conditions
        .into_iter()
        .find(|condition| condition.r#type == kind)
        .unwrap()
}

/// A folder of plugins that are shell scripts, and what they have been told.
pub(crate) struct Plugins(PathBuf);

impl Plugins {
    pub(crate) fn new(test: &str) -> Self {
        let dir = support::Env::get()
            .scratch()
            .join(format!("bin-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn flag(&self) -> String {
        format!("--cni-bin-dir={}", self.0.display())
    }

    /// A plugin that runs `add` when a pod is added; the request is on its standard input.
    pub(crate) fn write(&self, name: &str, add: &str) {
        let script = format!(
            "#!/bin/sh\ncase $CNI_COMMAND in\nVERSION) echo '{{\"cniVersion\":\"0.4.0\",\
             \"supportedVersions\":[\"0.4.0\"]}}' ;;\nADD) {add}\n;;\nesac\n"
        );
        self.write_whole(name, &script);
    }

    pub(crate) fn write_whole(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let (new, path) = (self.0.join(format!("{name}.new")), self.0.join(name));
        std::fs::write(&new, script).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Plugins {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn try_run(daemon: &Daemon, pod: &PodSandboxConfig) -> Result<String, Status> {
    let request = RunPodSandboxRequest {
        config: Some(pod.clone()),
        ..Default::default()
    };
    Ok(daemon
        .runtime()
        .run_pod_sandbox(request)
        .await?
        .into_inner()
        .pod_sandbox_id)
}

pub(crate) async fn stop(daemon: &Daemon, id: &str) {
    let request = StopPodSandboxRequest {
        pod_sandbox_id: id.into(),
    };
    daemon.runtime().stop_pod_sandbox(request).await.unwrap();
}

pub(crate) async fn remove(daemon: &Daemon, id: &str) {
    let request = RemovePodSandboxRequest {
        pod_sandbox_id: id.into(),
    };
    daemon.runtime().remove_pod_sandbox(request).await.unwrap();
}

/// All addresses of a sandbox, as its status has them.
pub(crate) async fn addresses(daemon: &Daemon, id: &str) -> Vec<String> {
    let network = daemon.sandbox_status(id).await.network.unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
    std::iter::once(network.ip)
        .filter(|ip| !ip.is_empty())
        .chain(more)
        .collect()
}

/// A container with a web server, or with a shell to look from.
pub(crate) async fn web(daemon: &Daemon, sandbox: &str, pod: &PodSandboxConfig) -> String {
    let image = daemon.pull("web:1").await;
    let server = container_of(pod, "web", &image, &["httpd", "-f", "-p", "80", "-h", "/var/www"]);
    daemon.run_container(sandbox, pod, &server).await
}

/// What a web server says. It may need a moment to listen.
pub(crate) fn http(address: SocketAddr) -> String {
    support::eventually(&format!("{address} answers"), Duration::from_secs(30), || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}

pub(crate) const PAGE: &str = "dockside test page";

/// The daemon's own sandboxes: other tests' are on the Engine too.
pub(crate) async fn sandboxes(daemon: &Daemon) -> Vec<cri::PodSandbox> {
    let answer = daemon
        .runtime()
        .list_pod_sandbox(cri::ListPodSandboxRequest::default())
        .await;
    let mut items = answer.unwrap().into_inner().items;
    items.retain(|item| item.metadata.as_ref().unwrap().namespace == daemon.name());
    items
}
