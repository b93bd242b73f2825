//! How often the Engine is asked, for each CRI call: numbers that tests/bench/README.md promises.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    fmt::Write,
    future::Future,
    time::{Duration, Instant},
};

use cri::{
    ContainerStatusRequest, HugepageLimit, ImageFsInfoRequest, ImageSpec, ImageStatusRequest,
    ListContainerStatsRequest, ListContainersRequest, ListImagesRequest, ListPodSandboxMetricsRequest,
    ListPodSandboxRequest, ListPodSandboxStatsRequest, PodSandboxStatusRequest, RemoveContainerRequest,
    RemovePodSandboxRequest, StatusRequest, StopContainerRequest, StopPodSandboxRequest, VersionRequest,
};
use support::{Engine, EngineProxy, Env, container_of, eventually};

/// Both tests count all calls to the Engine, and a pod of one is looked at for the other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// No call for so long is the end of what an earlier one has caused.
const QUIET: Duration = Duration::from_secs(1);

/// What each CRI call has cost. The numbers are exact: where one falls, the promise is renewed.
struct Table {
    proxy: EngineProxy,
    text: String,
    unexpected: Vec<String>,
}

impl Table {
    /// Makes a CRI call that changes something: it asks the Engine `expected` times, and what it has changed is
    /// inspected, `looks` times at most.
    async fn change<T>(
        &mut self,
        name: &str,
        expected: usize,
        looks: usize,
        call: impl Future<Output = T>,
    ) -> T {
        self.proxy.take();
        let answer = call.await;
        quiet(&self.proxy).await;
        let calls = self.proxy.take();
        let looked = calls.of("GET", "/containers/{id}/json");
        let asked = calls.total() - looked;
        let _ = writeln!(
            self.text,
            "{name}: {asked}, expected {expected}; {looked} looks, at most {looks}\n{calls}"
        );
        if asked != expected || looked > looks {
            self.unexpected.push(name.into());
        }
        answer
    }

    /// Makes a CRI call that reads: it asks the Engine `expected` times.
    async fn read<T>(&mut self, name: &str, expected: usize, call: impl Future<Output = T>) -> T {
        self.proxy.take();
        let answer = call.await;
        let calls = self.proxy.take();
        let total = calls.total();
        let _ = writeln!(self.text, "{name}: {total}, expected {expected}\n{calls}");
        if total != expected {
            self.unexpected.push(name.into());
        }
        answer
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

fn image_count() -> usize {
    let images = Engine::get().ask("GET", "/images/json", None);
    images.as_array().expect("a list of images").len()
}

/// Waits until nothing is asked any more.
async fn quiet(proxy: &EngineProxy) {
    let began = Instant::now();
    let mut last = (proxy.calls().total(), began);
    while last.1.elapsed() < QUIET {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", proxy.calls());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = proxy.calls().total();
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_asks_the_engine_as_often_as_promised() {
    let _alone = ALONE.lock().await;
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let image = daemon.pull("busybox:1").await;
    // The first pod pulls the pause image, and everything there is to know of the Engine is asked.
    daemon.run_pod(&daemon.pod("first")).await;
    // The next comparison with the Engine comes after minutes.
    eventually("a comparison", Duration::from_secs(60), || {
        daemon.log().contains("compared with the engine").then_some(())
    });
    quiet(&proxy).await;
    let mut table = Table {
        proxy,
        text: String::new(),
        unexpected: Vec::new(),
    };
    let (mut runtime, mut images) = (daemon.runtime(), daemon.images());

    let pod = daemon.pod("counted");
    // Create and start; an inspection is its own.
    let sandbox = table.change("RunPodSandbox", 2, 3, daemon.run_pod(&pod)).await;
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
        .read("ImageStatus", 0, images.image_status(request))
        .await
        .unwrap();
    let spec = ImageSpec {
        image: Env::get().image("no-such-image:1"),
        ..Default::default()
    };
    let request = ImageStatusRequest {
        image: Some(spec),
        ..Default::default()
    };
    let answer = images.image_status(request);
    let answer = table.read("ImageStatus, not there", 1, answer).await;
    assert_eq!(answer.unwrap().into_inner().image, None);
    let config = container_of(&pod, "main", &image, &["sleep", "1000"]);
    // Its users and groups are looked up: create, two files, remove.
    let first = container_of(&pod, "first", &image, &["sleep", "1000"]);
    let first = table
        .change(
            "CreateContainer, the first of an image",
            5,
            2,
            daemon.create(&sandbox, &pod, &first),
        )
        .await;
    Engine::get().remove(&first);
    quiet(&table.proxy).await;
    let id = table
        .change("CreateContainer", 1, 2, daemon.create(&sandbox, &pod, &config))
        .await;
    table
        .change("StartContainer", 1, 2, daemon.start_container(&id))
        .await;
    let name = Env::get().image("busybox:1");
    let mut other = container_of(&pod, "other", &name, &["sleep", "1000"]);
    // The Engine API cannot say it.
    let resources = other.linux.as_mut().unwrap().resources.as_mut().unwrap();
    resources.hugepage_limits = vec![HugepageLimit {
        page_size: "2MB".into(),
        limit: 2 << 20,
    }];
    let other = table
        .change(
            "CreateContainer, by the image's name",
            1,
            2,
            daemon.create(&sandbox, &pod, &other),
        )
        .await;
    // What is more is an inspection.
    table
        .change(
            "StartContainer, with cgroup files to write",
            1,
            3,
            daemon.start_container(&other),
        )
        .await;

    for round in ["first", "second"] {
        let name = |call: &str| format!("{call}, {round} time");
        let request = ContainerStatusRequest {
            container_id: id.clone(),
            ..Default::default()
        };
        table
            .read(&name("ContainerStatus"), 0, runtime.container_status(request))
            .await
            .unwrap();
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: sandbox.clone(),
            ..Default::default()
        };
        table
            .read(&name("PodSandboxStatus"), 0, runtime.pod_sandbox_status(request))
            .await
            .unwrap();
        let request = ListPodSandboxRequest::default();
        table
            .read(&name("ListPodSandbox"), 0, runtime.list_pod_sandbox(request))
            .await
            .unwrap();
        let request = ListContainersRequest::default();
        table
            .read(&name("ListContainers"), 0, runtime.list_containers(request))
            .await
            .unwrap();
        table
            .read(
                &name("ListImages"),
                0,
                images.list_images(ListImagesRequest::default()),
            )
            .await
            .unwrap();
        // containerd's store tells what the layers of an image take only where it is asked for that image, once.
        let asked = match round {
            "first" if Engine::get().containerd_store() => 2 * image_count(),
            _ => 0,
        };
        table
            .read(
                &name("ImageFsInfo"),
                asked,
                images.image_fs_info(ImageFsInfoRequest {}),
            )
            .await
            .unwrap();
        table
            .read(
                &name("ListContainerStats"),
                0,
                runtime.list_container_stats(ListContainerStatsRequest::default()),
            )
            .await
            .unwrap();
        table
            .read(
                &name("ListPodSandboxStats"),
                0,
                runtime.list_pod_sandbox_stats(ListPodSandboxStatsRequest::default()),
            )
            .await
            .unwrap();
        table
            .read(
                &name("ListPodSandboxMetrics"),
                0,
                runtime.list_pod_sandbox_metrics(ListPodSandboxMetricsRequest {}),
            )
            .await
            .unwrap();
        // A sign of life.
        table
            .read(&name("Status"), 1, runtime.status(StatusRequest::default()))
            .await
            .unwrap();
        table
            .read(&name("Version"), 0, runtime.version(VersionRequest::default()))
            .await
            .unwrap();
    }
    // Create, start, and the exit code.
    table.read("ExecSync", 3, daemon.sh(&id, "echo out")).await;

    let request = StopContainerRequest {
        container_id: id.clone(),
        timeout: 0,
    };
    table
        .change("StopContainer", 1, 2, runtime.stop_container(request))
        .await
        .unwrap();
    let request = RemoveContainerRequest { container_id: id };
    table
        .change("RemoveContainer", 1, 1, runtime.remove_container(request))
        .await
        .unwrap();
    // The members, each of them, and the pause container.
    let request = StopPodSandboxRequest {
        pod_sandbox_id: sandbox.clone(),
    };
    table
        .change("StopPodSandbox", 3, 4, runtime.stop_pod_sandbox(request))
        .await
        .unwrap();
    let request = RemovePodSandboxRequest {
        pod_sandbox_id: sandbox,
    };
    table
        .change("RemovePodSandbox", 3, 2, runtime.remove_pod_sandbox(request))
        .await
        .unwrap();
    table.check();
}

/// The reads of a kubelet in an hour, by its calendar, as fast as they are answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_reads_for_an_hour_without_asking_the_engine() {
    let _alone = ALONE.lock().await;
    let proxy = EngineProxy::start();
    let options = support::daemon!().engine(proxy.socket());
    // The comparison is to be among what is counted.
    let options = options.flag("--store-check-interval=1s").flag("--log-level=info");
    let daemon = options.start().await;
    let image = daemon.pull("busybox:1").await;
    let mut ids = Vec::new();
    for name in ["one", "two"] {
        let pod = daemon.pod(name);
        let sandbox = daemon.run_pod(&pod).await;
        for name in ["main", "side"] {
            let config = container_of(&pod, name, &image, &["sleep", "1000"]);
            ids.push(daemon.run_container(&sandbox, &pod, &config).await);
        }
    }
    // Everything was looked at, also by a comparison.
    daemon
        .images()
        .image_fs_info(ImageFsInfoRequest {})
        .await
        .unwrap();
    for _ in 0..2 {
        proxy.take();
        let began = Instant::now();
        while proxy.calls().of("GET", "/images/json") == 0 {
            assert!(began.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    proxy.take();
    let (mut runtime, mut images) = (daemon.runtime(), daemon.images());
    let ours = |labels: &BTreeMap<String, String>| {
        labels.get("io.kubernetes.pod.namespace").map(String::as_str) == Some(daemon.name())
    };
    let mut signs_of_life = 0;
    for second in 0..3600 {
        let lists = if second % 10 == 0 { 2 } else { 1 } + usize::from(second % 60 == 0);
        for _ in 0..lists {
            let sandboxes = runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await;
            let sandboxes = sandboxes.unwrap().into_inner().items;
            assert_eq!(sandboxes.iter().filter(|item| ours(&item.labels)).count(), 2);
            let containers = runtime.list_containers(ListContainersRequest::default()).await;
            let containers = containers.unwrap().into_inner().containers;
            assert_eq!(containers.iter().filter(|item| ours(&item.labels)).count(), 4);
        }
        if second % 5 == 0 {
            runtime.status(StatusRequest::default()).await.unwrap();
            signs_of_life += 1;
        }
        if second % 10 == 0 {
            images.image_fs_info(ImageFsInfoRequest {}).await.unwrap();
            for id in &ids {
                daemon.container_status(id).await;
            }
        }
        if second % 30 == 0 {
            images.list_images(ListImagesRequest::default()).await.unwrap();
        }
        if second % 60 == 0 {
            runtime.version(VersionRequest::default()).await.unwrap();
        }
    }
    let calls = proxy.take();
    assert_eq!(calls.of("GET", "/_ping"), signs_of_life, "{calls}");
    // One of each is a comparison; the last may have begun.
    let (containers, images) = (
        calls.of("GET", "/containers/json"),
        calls.of("GET", "/images/json"),
    );
    assert!(containers.abs_diff(images) <= 1, "{calls}");
    assert_eq!(calls.total(), signs_of_life + containers + images, "{calls}");
    assert!(!daemon.log().contains("was missed"), "{}", daemon.log());
}
