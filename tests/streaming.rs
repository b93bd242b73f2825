//! exec, attach and port-forward on a real Engine, by clients that speak SPDY, WebSocket and plain HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "streaming/attach.rs"]
mod attach;
#[path = "streaming/client.rs"]
mod client;
#[path = "streaming/exec.rs"]
mod exec;
#[path = "streaming/http.rs"]
mod http;
#[path = "streaming/limits.rs"]
mod limits;
#[path = "streaming/over_spdy.rs"]
mod over_spdy;
#[path = "streaming/port_forward.rs"]
mod port_forward;
#[path = "streaming/spdy.rs"]
mod spdy;
#[path = "streaming/tls.rs"]
mod tls;

use cri::{ContainerConfig, ExecRequest, PodSandboxConfig, PortForwardRequest};
use support::{Daemon, SLEEP, container_of};
use tonic::Status;

/// A daemon with a running pod.
struct Node {
    daemon: Daemon,
    image: String,
    pod: PodSandboxConfig,
    sandbox: String,
}

impl Node {
    async fn new() -> Self {
        Self::of(support::daemon!().start().await).await
    }

    /// With these flags.
    async fn with(flags: &[&str]) -> Self {
        let options = support::daemon!();
        Self::of(
            flags
                .iter()
                .fold(options, |options, flag| options.flag(*flag))
                .start()
                .await,
        )
        .await
    }

    async fn of(daemon: Daemon) -> Self {
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

    /// The URL of forwarded ports.
    async fn forward(&self, sandbox: &str, ports: &[i32]) -> Result<String, Status> {
        let request = PortForwardRequest {
            pod_sandbox_id: sandbox.into(),
            port: ports.into(),
        };
        Ok(self
            .daemon
            .runtime()
            .port_forward(request)
            .await?
            .into_inner()
            .url)
    }

    /// Runs a shell script in a container, and waits until it listens on `port`.
    async fn serve(&self, port: u16, script: &str) -> String {
        let id = self.run(&["sh", "-c", script], |_| {}).await;
        let listens = format!("until grep -q ':{port:04X} .* 0A ' /proc/net/tcp*; do sleep 0.1; done");
        self.daemon.sh(&id, &listens).await;
        id
    }

    /// The memory of the daemon, in kB, without what is read of its program, which comes and goes with the machine's load.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many files the daemon has open.
    fn files(&self) -> usize {
        let open = format!("/proc/{}/fd", self.daemon.pid());
        std::fs::read_dir(open).unwrap().count()
    }
}
