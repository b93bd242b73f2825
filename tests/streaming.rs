//! exec, attach and port-forward on a real Engine, by clients that speak WebSocket and plain HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "streaming/attach.rs"]
mod attach;
#[path = "streaming/client.rs"]
mod client;
#[path = "streaming/exec.rs"]
mod exec;
#[path = "streaming/http.rs"]
mod http;
#[path = "streaming/port_forward.rs"]
mod port_forward;

use cri::{ContainerConfig, ExecRequest, PodSandboxConfig};
use support::{Daemon, container_of};
use tonic::Status;

/// Sleeps, and ends at SIGTERM.
const SLEEP: &[&str] = &["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"];

/// A daemon with a running pod.
struct Node {
    daemon: Daemon,
    image: String,
    pod: PodSandboxConfig,
    sandbox: String,
}

impl Node {
    async fn new() -> Self {
        let daemon = support::daemon!().start().await;
        let image = daemon.pull("busybox:1").await;
        let pod = daemon.pod("pod");
        let sandbox = daemon.run_pod(&pod).await;
        Self {
            daemon,
            image,
            pod,
            sandbox,
        }
    }

    async fn run(&self, command: &[&str], change: impl FnOnce(&mut ContainerConfig)) -> String {
        let mut config = container_of(&self.pod, "main", &self.image, command);
        change(&mut config);
        self.daemon.run_container(&self.sandbox, &self.pod, &config).await
    }

    async fn asleep(&self) -> String {
        self.run(SLEEP, |_| {}).await
    }

    /// The URL of a shell script's streams.
    async fn exec(&self, id: &str, script: &str, change: impl FnOnce(&mut ExecRequest)) -> String {
        let mut request = ExecRequest {
            container_id: id.into(),
            cmd: ["sh", "-c", script].map(str::to_owned).into(),
            stdout: true,
            ..Default::default()
        };
        change(&mut request);
        self.try_exec(request).await.unwrap()
    }

    async fn try_exec(&self, request: ExecRequest) -> Result<String, Status> {
        Ok(self.daemon.runtime().exec(request).await?.into_inner().url)
    }

    /// How many files the daemon has open.
    fn files(&self) -> usize {
        let open = format!("/proc/{}/fd", self.daemon.pid());
        std::fs::read_dir(open).unwrap().count()
    }
}
