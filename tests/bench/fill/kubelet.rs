//! Pods through dockside, by the calls that a kubelet makes.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cri::{
    ContainerConfig, ContainerStatusRequest, CreateContainerRequest, DnsConfig, ImageFsInfoRequest,
    ImageSpec, ImageStatusRequest, LinuxContainerResources, ListContainersRequest, ListImagesRequest,
    ListPodSandboxRequest, PodSandboxConfig, PodSandboxStatusRequest, RemovePodSandboxRequest,
    RunPodSandboxRequest, StartContainerRequest, StatusRequest, StopPodSandboxRequest,
};
use support::{Daemon, Images, Runtime, container_of};

/// How often a full node is looked at, as a kubelet does every few seconds.
const LOOKS: usize = 5;

/// Between two lists while the node fills. A kubelet waits for a second; this gathers more of them.
const RELIST: Duration = Duration::from_millis(100);

/// A client. Its clones share two connections, as a kubelet's calls do, and know each other's pods.
#[derive(Clone)]
pub(crate) struct Kubelet {
    runtime: Runtime,
    images: Images,
    image: String,
    pods: Arc<Mutex<Vec<Pod>>>,
}

/// The ids of a pod's parts.
#[derive(Clone)]
pub(crate) struct Pod {
    pub(crate) sandbox: String,
    pub(crate) containers: Vec<String>,
}

impl Kubelet {
    pub(crate) async fn of(daemon: &Daemon) -> Self {
        Self {
            image: daemon.pull("busybox:1").await,
            runtime: daemon.runtime(),
            images: daemon.images(),
            pods: Arc::default(),
        }
    }

    /// Runs a pod of two containers.
    pub(crate) async fn run_pod(&self, mut config: PodSandboxConfig) -> Pod {
        config.dns_config = Some(DnsConfig {
            servers: vec!["10.96.0.10".into()],
            searches: vec!["default.svc.cluster.local".into()],
            options: vec!["ndots:5".into()],
        });
        let mut runtime = self.runtime.clone();
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            ..Default::default()
        };
        let sandbox = runtime.run_pod_sandbox(request).await.unwrap().into_inner();
        let sandbox = sandbox.pod_sandbox_id;
        let mut containers = Vec::new();
        for name in ["main", "side"] {
            let request = ImageStatusRequest {
                image: Some(ImageSpec {
                    image: self.image.clone(),
                    ..Default::default()
                }),
                verbose: false,
            };
            let image = self.images.clone().image_status(request).await.unwrap();
            assert!(image.into_inner().image.is_some());
            let request = CreateContainerRequest {
                pod_sandbox_id: sandbox.clone(),
                config: Some(self.container(&config, name)),
                sandbox_config: Some(config.clone()),
            };
            let created = runtime.create_container(request).await.unwrap().into_inner();
            let request = StartContainerRequest {
                container_id: created.container_id.clone(),
            };
            runtime.start_container(request).await.unwrap();
            containers.push(created.container_id);
        }
        let pod = Pod { sandbox, containers };
        self.pods.lock().unwrap().push(pod.clone());
        pod
    }

    fn container(&self, pod: &PodSandboxConfig, name: &str) -> ContainerConfig {
        let mut config = container_of(pod, name, &self.image, &["sleep", "100000"]);
        config.linux.as_mut().unwrap().resources = Some(LinuxContainerResources {
            cpu_period: 100_000,
            cpu_quota: 50_000,
            cpu_shares: 256,
            memory_limit_in_bytes: 64 << 20,
            oom_score_adj: 900,
            ..Default::default()
        });
        config
    }

    /// Lists everything and asks for every status, several times.
    pub(crate) async fn look_around(&self) {
        let (mut runtime, mut images) = (self.runtime.clone(), self.images.clone());
        let pods = self.pods.lock().unwrap().clone();
        for _ in 0..LOOKS {
            runtime.status(StatusRequest { verbose: false }).await.unwrap();
            let sandboxes = runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await;
            assert_eq!(sandboxes.unwrap().into_inner().items.len(), pods.len());
            let containers = runtime.list_containers(ListContainersRequest::default()).await;
            assert_eq!(containers.unwrap().into_inner().containers.len(), 2 * pods.len());
            images.list_images(ListImagesRequest::default()).await.unwrap();
            images.image_fs_info(ImageFsInfoRequest {}).await.unwrap();
            for pod in &pods {
                let request = PodSandboxStatusRequest {
                    pod_sandbox_id: pod.sandbox.clone(),
                    verbose: false,
                };
                runtime.pod_sandbox_status(request).await.unwrap();
                for id in &pod.containers {
                    let request = ContainerStatusRequest {
                        container_id: id.clone(),
                        verbose: false,
                    };
                    runtime.container_status(request).await.unwrap();
                }
            }
        }
    }

    /// Lists all pods and containers over and over until `busy` is over; how long both lists took each time.
    pub(crate) async fn relisted<T>(&self, busy: impl Future<Output = T>) -> Vec<Duration> {
        let mut runtime = self.runtime.clone();
        let mut took = Vec::new();
        let relist = async {
            loop {
                let began = Instant::now();
                let sandboxes = runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await;
                sandboxes.unwrap();
                let containers = runtime.list_containers(ListContainersRequest::default()).await;
                containers.unwrap();
                took.push(began.elapsed());
                tokio::time::sleep(RELIST).await;
            }
        };
        tokio::select! {
            _ = busy => {}
            () = relist => {}
        }
        took.sort();
        took
    }

    /// Removes all pods.
    pub(crate) async fn remove_pods(&self, parallel: usize) {
        let pods = std::mem::take(&mut *self.pods.lock().unwrap());
        crate::in_parallel(pods, parallel, |pod| {
            let mut runtime = self.runtime.clone();
            async move {
                let pod_sandbox_id = pod.sandbox;
                let removal = RemovePodSandboxRequest {
                    pod_sandbox_id: pod_sandbox_id.clone(),
                };
                // Containers are killed by the stop: `sleep` does not heed SIGTERM as a first process.
                runtime
                    .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id })
                    .await
                    .unwrap();
                runtime.remove_pod_sandbox(removal).await.unwrap();
            }
        })
        .await;
    }
}
