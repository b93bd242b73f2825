//! How often the Engine is asked, for each CRI call: numbers that the README promises.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fmt::Write, future::Future};

use cri::{
    ContainerStatusRequest, ImageSpec, ImageStatusRequest, ListContainersRequest, ListImagesRequest,
    ListPodSandboxRequest, PodSandboxStatusRequest, RemoveContainerRequest, RemovePodSandboxRequest,
    StatusRequest, StopContainerRequest, StopPodSandboxRequest, VersionRequest,
};
use support::{Calls, EngineProxy, container_of};

/// What each CRI call has cost. The numbers are exact: where one falls, the promise is renewed.
struct Table {
    proxy: EngineProxy,
    text: String,
    unexpected: Vec<String>,
}

impl Table {
    /// Makes a CRI call, which asks the Engine `expected` times.
    async fn count<T>(&mut self, name: &str, expected: usize, call: impl Future<Output = T>) -> T {
        self.proxy.take();
        let answer = call.await;
        self.note(name, expected, &self.proxy.take());
        answer
    }

    fn note(&mut self, name: &str, expected: usize, calls: &Calls) {
        let total = calls.total();
        let _ = writeln!(self.text, "{name}: {total}, expected {expected}\n{calls}");
        if total != expected {
            self.unexpected.push(name.into());
        }
    }

    fn check(self) {
        assert!(
            self.unexpected.is_empty(),
            "other numbers of calls for {:?}\n\n{}",
            self.unexpected,
            self.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_asks_the_engine_as_often_as_promised() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let image = daemon.pull("busybox:1").await;
    // The first pod pulls the pause image, and everything there is to know of the Engine is asked.
    daemon.run_pod(&daemon.pod("first")).await;
    let mut table = Table {
        proxy,
        text: String::new(),
        unexpected: Vec::new(),
    };
    let (mut runtime, mut images) = (daemon.runtime(), daemon.images());

    let pod = daemon.pod("counted");
    // Create, start, inspect.
    let sandbox = table.count("RunPodSandbox", 3, daemon.run_pod(&pod)).await;
    // As the kubelet does before each container; it names the image by its id from then on.
    let spec = ImageSpec {
        image: image.clone(),
        ..Default::default()
    };
    let request = ImageStatusRequest {
        image: Some(spec),
        ..Default::default()
    };
    table
        .count("ImageStatus", 1, images.image_status(request))
        .await
        .unwrap();
    let config = container_of(&pod, "main", &image, &["sleep", "1000"]);
    // Its users and groups are looked up: create, two files, remove.
    let first = container_of(&pod, "first", &image, &["sleep", "1000"]);
    let first = table
        .count(
            "CreateContainer, the first of an image",
            5,
            daemon.create(&sandbox, &pod, &first),
        )
        .await;
    support::Engine::get().remove(&first);
    let id = table
        .count("CreateContainer", 1, daemon.create(&sandbox, &pod, &config))
        .await;
    // One more where limits are set that the Engine API cannot say.
    table
        .count("StartContainer", 1, daemon.start_container(&id))
        .await;

    for round in ["first", "second"] {
        let name = |call: &str| format!("{call}, {round} time");
        let request = ContainerStatusRequest {
            container_id: id.clone(),
            ..Default::default()
        };
        table
            .count(&name("ContainerStatus"), 1, runtime.container_status(request))
            .await
            .unwrap();
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: sandbox.clone(),
            ..Default::default()
        };
        table
            .count(&name("PodSandboxStatus"), 1, runtime.pod_sandbox_status(request))
            .await
            .unwrap();
        let request = ListPodSandboxRequest::default();
        table
            .count(&name("ListPodSandbox"), 1, runtime.list_pod_sandbox(request))
            .await
            .unwrap();
        let request = ListContainersRequest::default();
        table
            .count(&name("ListContainers"), 1, runtime.list_containers(request))
            .await
            .unwrap();
        let request = StatusRequest::default();
        table
            .count(&name("Status"), 1, runtime.status(request))
            .await
            .unwrap();
        let request = VersionRequest::default();
        table
            .count(&name("Version"), 0, runtime.version(request))
            .await
            .unwrap();
    }
    // The user of each image is asked for once.
    images.list_images(ListImagesRequest::default()).await.unwrap();
    let request = ListImagesRequest::default();
    table
        .count("ListImages", 1, images.list_images(request))
        .await
        .unwrap();
    // Create, start, and the exit code.
    table.count("ExecSync", 3, daemon.sh(&id, "echo out")).await;

    let request = StopContainerRequest {
        container_id: id.clone(),
        timeout: 0,
    };
    table
        .count("StopContainer", 1, runtime.stop_container(request))
        .await
        .unwrap();
    let request = RemoveContainerRequest { container_id: id };
    table
        .count("RemoveContainer", 1, runtime.remove_container(request))
        .await
        .unwrap();
    // The members, and the pause container.
    let request = StopPodSandboxRequest {
        pod_sandbox_id: sandbox.clone(),
    };
    table
        .count("StopPodSandbox", 2, runtime.stop_pod_sandbox(request))
        .await
        .unwrap();
    let request = RemovePodSandboxRequest {
        pod_sandbox_id: sandbox,
    };
    table
        .count("RemovePodSandbox", 2, runtime.remove_pod_sandbox(request))
        .await
        .unwrap();
    table.check();
}
