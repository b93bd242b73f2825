//! A kubelet's calls, one by one and by its calendar.

use std::time::{Duration, Instant};

use cri::{
    ContainerStatusRequest, ImageFsInfoRequest, ListContainerStatsRequest, ListContainersRequest,
    ListImagesRequest, ListPodSandboxRequest, PodSandboxStatusRequest, StatusRequest,
    image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
};
use support::{Images, Runtime};
use tonic::{Code, transport::Channel};

use crate::{node::Pod, processor::Usage};

/// How often a call is made to time it.
const TIMES: usize = 200;

/// The first status of a pod after a change: what the kernel says of its containers is read then.
const FIRST: &str = "first PodSandboxStatus";

/// CRI's limit for one message.
const MAX_MESSAGE: usize = 16 << 20;

/// What one call takes, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// The client's median.
    pub(crate) client: f64,
    /// The server's processor time.
    pub(crate) server: f64,
}

/// The calls, by name; none where the server does not offer one.
pub(crate) type Costs = Vec<(&'static str, Option<Cost>)>;

pub(crate) struct Kubelet {
    runtime: Runtime,
    images: Images,
    pods: Vec<Pod>,
    /// How many of them were asked for by another one before.
    known: usize,
}

impl Kubelet {
    pub(crate) fn new(channel: Channel, pods: &[Pod], known: usize) -> Self {
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
            pods: pods.to_vec(),
            known,
        }
    }

    /// Times every call by itself.
    pub(crate) async fn time_calls(&mut self, server: u32) -> Costs {
        let mut costs = Costs::new();
        for name in [
            "ListPodSandbox",
            "ListContainers",
            FIRST,
            "PodSandboxStatus",
            "ContainerStatus",
            "ListContainerStats",
            "ListImages",
            "ImageFsInfo",
            "Status",
        ] {
            costs.push((name, self.time(name, server).await));
        }
        costs
    }

    async fn time(&mut self, name: &str, server: u32) -> Option<Cost> {
        // Each pod's first status is a figure of its own; after it, all have been asked for.
        let (before, times) = match name {
            FIRST => (0, self.pods.len() - self.known),
            _ => (TIMES / 10, TIMES),
        };
        for turn in 0..before {
            if !self.call(name, turn).await {
                return None;
            }
        }
        let usage = Usage::of(server);
        let mut took = Vec::with_capacity(times);
        for turn in 0..times {
            let began = Instant::now();
            self.call(name, turn).await;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        Some(Cost {
            client: milliseconds(took[times / 2]),
            server: milliseconds(usage.since()) / times as f64,
        })
    }

    /// Makes a call that must succeed; returns whether the server offers it.
    async fn call(&mut self, name: &str, turn: usize) -> bool {
        let pods = if name == FIRST {
            &self.pods[self.known..]
        } else {
            &self.pods
        };
        let pod = &pods[turn % pods.len()];
        let (runtime, images) = (&mut self.runtime, &mut self.images);
        let answer = match name {
            "ListPodSandbox" => {
                let answer = runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await;
                answer.map(|answer| assert!(answer.get_ref().items.len() >= self.pods.len()))
            }
            "ListContainers" => {
                let answer = runtime.list_containers(ListContainersRequest::default()).await;
                answer.map(|answer| assert!(answer.get_ref().containers.len() >= 2 * self.pods.len()))
            }
            FIRST | "PodSandboxStatus" => {
                let request = PodSandboxStatusRequest {
                    pod_sandbox_id: pod.sandbox.clone(),
                    verbose: false,
                };
                runtime.pod_sandbox_status(request).await.map(drop)
            }
            "ContainerStatus" => {
                let container = turn / pods.len() % pod.containers.len();
                let request = ContainerStatusRequest {
                    container_id: pod.containers[container].clone(),
                    verbose: false,
                };
                runtime.container_status(request).await.map(drop)
            }
            "ListContainerStats" => {
                let request = ListContainerStatsRequest::default();
                runtime.list_container_stats(request).await.map(drop)
            }
            "ListImages" => images.list_images(ListImagesRequest::default()).await.map(drop),
            "ImageFsInfo" => images.image_fs_info(ImageFsInfoRequest {}).await.map(drop),
            "Status" => runtime.status(StatusRequest { verbose: false }).await.map(drop),
            _ => unreachable!("{name}"),
        };
        match answer {
            Ok(()) => true,
            Err(status) if status.code() == Code::Unimplemented => false,
            Err(status) => panic!("{name}: {status}"),
        }
    }

    /// Makes all calls that a kubelet makes in a while by itself, at their times.
    pub(crate) async fn poll(&mut self, time: Duration) {
        support::poll(&mut self.runtime, &mut self.images, time).await;
    }
}
