//! The same containers by another CRI server, such as containerd's.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use cri::{
    ContainerFilter, ContainerState, ContainerStateValue, CreateContainerRequest, ImageSpec,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListContainersRequest, NamespaceMode,
    NamespaceOption, PodSandboxConfig, PodSandboxMetadata, PullImageRequest, RemovePodSandboxRequest,
    RunPodSandboxRequest, StartContainerRequest, StopPodSandboxRequest,
    image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
};
use futures_util::future::join_all;
use support::container_of;
use tonic::transport::{Channel, Endpoint};

use crate::machine::Times;

/// How often it is asked what still runs: seldom enough to cost the server nothing that counts.
const ASK: Duration = Duration::from_millis(100);

pub(crate) struct Other {
    runtime: RuntimeServiceClient<Channel>,
    server: u32,
    image: String,
    pod: PodSandboxConfig,
    sandbox: String,
}

impl Other {
    pub(crate) async fn new(socket: PathBuf, image: String) -> Self {
        let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let server = stream.peer_cred().unwrap().pid().expect("the server's process");
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let request = PullImageRequest {
            image: Some(ImageSpec {
                image,
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut images = ImageServiceClient::new(channel.clone());
        let image = images.pull_image(request).await.unwrap().into_inner().image_ref;
        let pod = pod();
        let mut runtime = RuntimeServiceClient::new(channel);
        let request = RunPodSandboxRequest {
            config: Some(pod.clone()),
            ..Default::default()
        };
        let sandbox = runtime.run_pod_sandbox(request).await.unwrap().into_inner();
        Self {
            runtime,
            server: server.try_into().unwrap(),
            image,
            pod,
            sandbox: sandbox.pod_sandbox_id,
        }
    }

    /// Runs `count` containers at once to their end; returns how long they took, and the server's processor time.
    pub(crate) async fn run(&mut self, name: &str, count: usize, script: &str) -> (Duration, Duration) {
        let mut ids = Vec::new();
        for index in 0..count {
            let config = container_of(
                &self.pod,
                &format!("{name}-{index}"),
                &self.image,
                &["sh", "-c", script],
            );
            let request = CreateContainerRequest {
                pod_sandbox_id: self.sandbox.clone(),
                config: Some(config),
                sandbox_config: Some(self.pod.clone()),
            };
            let created = self.runtime.create_container(request).await.unwrap();
            ids.push(created.into_inner().container_id);
        }
        let (began, before) = (Instant::now(), Times::of(self.server).own);
        let starts = ids.into_iter().map(|container_id| {
            let mut runtime = self.runtime.clone();
            async move {
                let request = StartContainerRequest { container_id };
                runtime.start_container(request).await.unwrap();
            }
        });
        join_all(starts).await;
        let running = ListContainersRequest {
            filter: Some(ContainerFilter {
                state: Some(ContainerStateValue {
                    state: ContainerState::ContainerRunning.into(),
                }),
                pod_sandbox_id: self.sandbox.clone(),
                ..Default::default()
            }),
        };
        loop {
            let list = self.runtime.list_containers(running.clone()).await.unwrap();
            if list.into_inner().containers.is_empty() {
                return (began.elapsed(), Times::of(self.server).own - before);
            }
            tokio::time::sleep(ASK).await;
        }
    }

    pub(crate) async fn remove(mut self) {
        let pod_sandbox_id = self.sandbox;
        let removal = RemovePodSandboxRequest {
            pod_sandbox_id: pod_sandbox_id.clone(),
        };
        let stop = StopPodSandboxRequest { pod_sandbox_id };
        self.runtime.stop_pod_sandbox(stop).await.unwrap();
        self.runtime.remove_pod_sandbox(removal).await.unwrap();
        std::fs::remove_dir_all(&self.pod.log_directory).unwrap();
    }
}

/// A pod in the host's network, so that any server can run it.
fn pod() -> PodSandboxConfig {
    let uid = format!("{:08x}-0000-4000-8000-000000000000", std::process::id());
    PodSandboxConfig {
        log_directory: std::env::temp_dir().join(&uid).display().to_string(),
        metadata: Some(PodSandboxMetadata {
            name: "writers".into(),
            uid,
            namespace: "logs".into(),
            attempt: 0,
        }),
        linux: Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(NamespaceOption {
                    network: NamespaceMode::Node.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}
