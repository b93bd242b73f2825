//! The node that is polled: its server, and its pods.

use std::{collections::BTreeMap, path::PathBuf};

use cri::{
    CreateContainerRequest, LinuxContainerResources, NamespaceMode, PodSandboxConfig, RunPodSandboxRequest,
    StartContainerRequest, runtime_service_client::RuntimeServiceClient,
};
use futures_util::{StreamExt, stream};
use support::{Daemon, Env, container_of};
use tonic::transport::{Channel, Endpoint};

use crate::{options::Options, server};

/// Pods that are started or removed at a time.
const PARALLEL: usize = 8;

/// The ids of a pod's parts.
#[derive(Clone)]
pub(crate) struct Pod {
    pub(crate) sandbox: String,
    pub(crate) containers: Vec<String>,
}

pub(crate) struct Node {
    /// None where the server is somebody else's.
    daemon: Option<Daemon>,
    socket: PathBuf,
    server: u32,
    engine: Option<u32>,
    image: String,
    pods: Vec<Pod>,
}

impl Node {
    pub(crate) async fn new(options: &Options) -> Self {
        let (daemon, socket, engine, image) = match &options.socket {
            Some(socket) => (None, socket.clone(), None, options.image.clone()),
            None => {
                let daemon = support::daemon!().flag("--log-level=info").start().await;
                let socket = daemon.socket();
                let pid = std::fs::read_to_string(&Env::get().engine_pid).unwrap();
                let image = Env::get().image("busybox:1");
                (Some(daemon), socket, pid.trim().parse().ok(), image)
            }
        };
        let server = server::process_at(&socket).await;
        let mut node = Self {
            daemon,
            socket,
            server,
            engine,
            image: String::new(),
            pods: Vec::new(),
        };
        node.image = server::pull(node.channel().await, image).await;
        node
    }

    /// A connection with windows that hold a whole list, as a kubelet's grow to.
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display())).unwrap();
        let endpoint = endpoint.initial_stream_window_size(4 << 20);
        endpoint
            .initial_connection_window_size(8 << 20)
            .connect()
            .await
            .unwrap()
    }

    pub(crate) fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// The server's process.
    pub(crate) fn server(&self) -> u32 {
        self.server
    }

    /// The Engine's process, where that is known.
    pub(crate) fn engine(&self) -> Option<u32> {
        self.engine
    }

    /// Which server this is.
    pub(crate) fn describe(&self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.server)).unwrap_or_default();
        let engine = match &self.daemon {
            Some(_) => format!(", Engine {}", Env::get().engine_name),
            None => String::new(),
        };
        format!("{} at {}{engine}", name.trim(), self.socket.display())
    }

    /// Starts pods until there are so many.
    pub(crate) async fn fill_up_to(&mut self, count: usize) {
        let channel = self.channel().await;
        let configs: Vec<_> = (self.pods.len()..count).map(|n| self.pod(n)).collect();
        let image = self.image.clone();
        let started = stream::iter(configs)
            .map(|config| tokio::spawn(run_pod(channel.clone(), config, image.clone())))
            .buffer_unordered(PARALLEL);
        self.pods
            .extend(started.map(|pod| pod.unwrap()).collect::<Vec<_>>().await);
    }

    /// Removes all pods.
    pub(crate) async fn clear(&mut self) {
        let channel = self.channel().await;
        stream::iter(std::mem::take(&mut self.pods))
            .for_each_concurrent(PARALLEL, |pod| {
                let runtime = RuntimeServiceClient::new(channel.clone());
                server::remove_pod(runtime, pod.sandbox)
            })
            .await;
    }

    fn pod(&self, number: usize) -> PodSandboxConfig {
        let name = format!("poll-{number}-7c5ddbdf54-x2v{number:03}");
        let mut config = match &self.daemon {
            Some(daemon) => daemon.pod(&name),
            None => server::pod(&name, number),
        };
        server::in_host_network(&mut config);
        config.annotations = annotations(&[
            ("kubernetes.io/config.seen", "2026-01-01T00:00:00.000000000Z"),
            ("kubernetes.io/config.source", "api"),
        ]);
        config.labels.insert("app".into(), "poll".into());
        config
            .labels
            .insert("pod-template-hash".into(), "7c5ddbdf54".into());
        config
    }
}

/// As many as a kubelet writes.
fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.into(), value.into()))
        .collect()
}

async fn run_pod(channel: Channel, config: PodSandboxConfig, image: String) -> Pod {
    let mut runtime = RuntimeServiceClient::new(channel);
    let request = RunPodSandboxRequest {
        config: Some(config.clone()),
        ..Default::default()
    };
    let sandbox = runtime.run_pod_sandbox(request).await.unwrap().into_inner();
    let sandbox = sandbox.pod_sandbox_id;
    let mut containers = Vec::new();
    for name in ["main", "side"] {
        let mut container = container_of(&config, name, &image, &["sleep", "100000"]);
        container.annotations = annotations(&[
            ("io.kubernetes.container.hash", "5f2a9c1e"),
            ("io.kubernetes.container.restartCount", "0"),
            (
                "io.kubernetes.container.terminationMessagePath",
                "/dev/termination-log",
            ),
            ("io.kubernetes.container.terminationMessagePolicy", "File"),
            ("io.kubernetes.pod.terminationGracePeriod", "30"),
        ]);
        let linux = container.linux.as_mut().unwrap();
        linux.resources = Some(LinuxContainerResources {
            cpu_period: 100_000,
            cpu_quota: 50_000,
            cpu_shares: 256,
            memory_limit_in_bytes: 64 << 20,
            ..Default::default()
        });
        let options = linux.security_context.as_mut().unwrap();
        let options = options.namespace_options.as_mut().unwrap();
        options.network = NamespaceMode::Node.into();
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(container),
            sandbox_config: Some(config.clone()),
        };
        let id = runtime
            .create_container(request)
            .await
            .unwrap()
            .into_inner()
            .container_id;
        let request = StartContainerRequest {
            container_id: id.clone(),
        };
        runtime.start_container(request).await.unwrap();
        containers.push(id);
    }
    Pod { sandbox, containers }
}
