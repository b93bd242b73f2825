//! The same containers by another CRI server, such as containerd's.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use cri::{
    ContainerFilter, ContainerState, ContainerStateValue, CreateContainerRequest, ListContainersRequest,
    PodSandboxConfig, RunPodSandboxRequest, StartContainerRequest,
    runtime_service_client::RuntimeServiceClient,
};
use futures_util::future::join_all;
use support::container_of;
use tonic::transport::{Channel, Endpoint};

use crate::{machine::Times, server};

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
        let server = server::process_at(&socket).await;
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let image = server::pull(channel.clone(), image).await;
        let pod = server::pod("writers", 0);
        let mut runtime = RuntimeServiceClient::new(channel);
        let request = RunPodSandboxRequest {
            config: Some(pod.clone()),
            ..Default::default()
        };
        let sandbox = runtime.run_pod_sandbox(request).await.unwrap().into_inner();
        Self {
            runtime,
            server,
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

    pub(crate) async fn remove(self) {
        server::remove_pod(self.runtime, self.sandbox).await;
        std::fs::remove_dir_all(&self.pod.log_directory).unwrap();
    }
}
