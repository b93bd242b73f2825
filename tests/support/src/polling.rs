//! What a kubelet asks by itself, when nothing happens on its node.

use std::time::Duration;

use cri::{
    ContainerFilter, ContainerState, ContainerStateValue, ContainerStatusRequest, ImageFsInfoRequest,
    ListContainerStatsRequest, ListContainersRequest, ListContainersResponse, ListImagesRequest,
    ListPodSandboxRequest, StatusRequest,
};
use tonic::{Code, Response, Status};

use crate::{Images, Runtime};

/// Fails for an error, but not for what a server does not offer.
fn expect<T>(what: &str, answer: Result<Response<T>, Status>) {
    match answer {
        Err(status) if status.code() != Code::Unimplemented => panic!("{what}: {status}"),
        _ => {}
    }
}

/// Makes all calls that a kubelet makes in a while by itself, at their times.
pub async fn poll(runtime: &mut Runtime, images: &mut Images, time: Duration) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    for second in 0..time.as_secs() {
        tick.tick().await;
        lists(runtime).await;
        if second % 5 == 1 {
            let request = StatusRequest { verbose: false };
            expect("Status", runtime.status(request).await);
        }
        if second % 10 == 2 {
            lists(runtime).await;
            let request = ListContainerStatsRequest::default();
            expect("ListContainerStats", runtime.list_container_stats(request).await);
            expect("ImageFsInfo", images.image_fs_info(ImageFsInfoRequest {}).await);
        }
        if second % 10 == 3 {
            look_at_running(runtime).await;
        }
        if second % 30 == 4 {
            let request = ListImagesRequest::default();
            expect("ListImages", images.list_images(request).await);
        }
    }
    tick.tick().await;
}

async fn lists(runtime: &mut Runtime) {
    let request = ListPodSandboxRequest::default();
    expect("ListPodSandbox", runtime.list_pod_sandbox(request).await);
    expect("ListContainers", list_containers(runtime, None).await);
}

async fn list_containers(
    runtime: &mut Runtime,
    filter: Option<ContainerFilter>,
) -> Result<Response<ListContainersResponse>, Status> {
    runtime.list_containers(ListContainersRequest { filter }).await
}

/// As for the rotation of logs.
async fn look_at_running(runtime: &mut Runtime) {
    let filter = ContainerFilter {
        state: Some(ContainerStateValue {
            state: ContainerState::ContainerRunning.into(),
        }),
        ..Default::default()
    };
    let running = list_containers(runtime, Some(filter)).await.unwrap();
    for container in running.into_inner().containers {
        let request = ContainerStatusRequest {
            container_id: container.id,
            verbose: false,
        };
        expect("ContainerStatus", runtime.container_status(request).await);
    }
}
