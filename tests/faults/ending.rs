//! dockside ends, in order and not.

use std::time::{Duration, Instant};

use cri::GetEventsRequest;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::{DEAF, Daemon, EngineProxy, container_of};
use tonic::Code;

async fn everything(daemon: &Daemon, sandbox: &str, container: &str) -> String {
    let mut runtime = daemon.runtime();
    let filter = cri::ListPodSandboxRequest {
        filter: Some(cri::PodSandboxFilter {
            id: sandbox.into(),
            ..Default::default()
        }),
    };
    let sandboxes = runtime.list_pod_sandbox(filter).await.unwrap().into_inner();
    let filter = cri::ListContainersRequest {
        filter: Some(cri::ContainerFilter {
            pod_sandbox_id: sandbox.into(),
            ..Default::default()
        }),
    };
    let containers = runtime.list_containers(filter).await.unwrap().into_inner();
    assert!(sandboxes.items.len() == 1 && containers.containers.len() == 1);
    let (one, other) = (
        daemon.sandbox_status(sandbox).await,
        daemon.container_status(container).await,
    );
    format!("{sandboxes:#?}\n{containers:#?}\n{one:#?}\n{other:#?}")
}

/// A container that ends only when it is killed.
async fn deaf(daemon: &Daemon) -> String {
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("slow");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "main", &image, DEAF);
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    daemon.says(&id, "ready").await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_killed_knows_everything_again() {
    let mut daemon = support::daemon!().start().await;
    let image = daemon.pull("features:latest").await;
    let mut pod = daemon.pod("known");
    pod.annotations = [("a/b".to_owned(), "c\nd é".to_owned())].into();
    let sandbox = daemon.run_pod(&pod).await;
    let mut config = container_of(&pod, "main_with_underscores", &image, &["sleep", "1000"]);
    config.annotations = [("e".to_owned(), "f".to_owned())].into();
    config.metadata.as_mut().unwrap().attempt = 3;
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let before = everything(&daemon, &sandbox, &id).await;
    assert!(before.contains(r"c\nd é"), "{before}");
    // Its socket is left behind, and is replaced.
    daemon.kill();
    assert!(daemon.socket().exists());
    daemon.start_again().await;
    assert_eq!(everything(&daemon, &sandbox, &id).await, before);
    assert_eq!(daemon.sh(&id, "echo here").await, "here");
    let request = cri::RemovePodSandboxRequest {
        pod_sandbox_id: sandbox,
    };
    daemon.runtime().remove_pod_sandbox(request).await.unwrap();
    crate::traces::no_traces(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_flight_is_finished_before_the_end() {
    let proxy = EngineProxy::start();
    let mut daemon = support::daemon!().engine(proxy.socket()).start().await;
    let id = deaf(&daemon).await;
    let (mut runtime, request) = (
        daemon.runtime(),
        cri::StopContainerRequest {
            container_id: id.clone(),
            timeout: 4,
        },
    );
    let began = Instant::now();
    let stopping = tokio::spawn(async move { runtime.stop_container(request).await.map(drop) });
    proxy.met("POST", "/containers/{id}/stop").await;
    let status = tokio::task::block_in_place(|| daemon.stop());
    assert!(status.success(), "{status}");
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    stopping.await.unwrap().unwrap();
    assert!(!daemon.socket().exists(), "nobody is to call any more");
    daemon.start_again().await;
    assert_eq!(daemon.container_status(&id).await.exit_code, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_for_ever() {
    let proxy = EngineProxy::start();
    let options = support::daemon!().engine(proxy.socket());
    let mut daemon = options.flag("--shutdown-timeout=1s").start().await;
    let id = deaf(&daemon).await;
    let mut runtime = daemon.runtime();
    let request = cri::StopContainerRequest {
        container_id: id,
        timeout: 1000,
    };
    let stopping = tokio::spawn(async move { runtime.stop_container(request).await.map(drop) });
    proxy.met("POST", "/containers/{id}/stop").await;
    // Long before the grace is over.
    tokio::task::block_in_place(|| daemon.stop());
    stopping.await.unwrap().unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_to_events_does_not_hold_up_the_end() {
    // Longer than the test would wait for the end.
    let mut daemon = support::daemon!().flag("--shutdown-timeout=10m").start().await;
    let answer = daemon.runtime().get_container_events(GetEventsRequest {}).await;
    let mut events = answer.unwrap().into_inner();
    let heard = tokio::spawn(async move {
        loop {
            match events.message().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    });
    let status = tokio::task::block_in_place(|| daemon.stop());
    assert!(status.success(), "{status}");
    let end = heard.await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_copy_logs_any_more_ends() {
    let mut daemon = support::daemon!().start().await;
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("busy");
    let sandbox = daemon.run_pod(&pod).await;
    let script = "while :; do echo line; sleep 0.1; done";
    let config = container_of(&pod, "main", &image, &["sh", "-c", script]);
    daemon.run_container(&sandbox, &pod, &config).await;
    // Poll takes no more descriptors than this limit from then on: it fails, in the thread that waits for logs to change.
    let pid = Pid::from_raw(daemon.pid().try_into().unwrap());
    let limit = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    prlimit(pid, Resource::Nofile, limit).unwrap();
    let status = tokio::task::block_in_place(|| daemon.wait());
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("copying container logs ended"));
    daemon.start_again().await;
}
