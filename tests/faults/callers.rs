//! Callers that go away in the middle of a change.

use std::time::{Duration, Instant};

use cri::{ContainerState, PodSandboxState};
use support::{Action, Daemon, EngineProxy, Rule, container_of};

/// Calls for 300 ms and hangs up.
async fn hang_up<T>(call: impl Future<Output = T>) {
    let ended = tokio::time::timeout(Duration::from_millis(300), call).await;
    assert!(ended.is_err(), "the call has ended before its caller");
}

/// The daemon's containers.
async fn containers(daemon: &Daemon) -> Vec<cri::Container> {
    let answer = daemon
        .runtime()
        .list_containers(cri::ListContainersRequest::default())
        .await;
    let mut items = answer.unwrap().into_inner().containers;
    items.retain(|item| {
        item.labels
            .get("io.kubernetes.pod.namespace")
            .is_some_and(|name| name == daemon.name())
    });
    items
}

async fn sandboxes(daemon: &Daemon) -> Vec<cri::PodSandbox> {
    let answer = daemon
        .runtime()
        .list_pod_sandbox(cri::ListPodSandboxRequest::default())
        .await;
    let mut items = answer.unwrap().into_inner().items;
    items.retain(|item| item.metadata.as_ref().unwrap().namespace == daemon.name());
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("left");
    let slowly = Duration::from_secs(1);

    // RunPodSandbox: it comes to have its network.
    proxy.rule(Rule::on(
        "POST",
        "/containers/{id}/start",
        Action::DelayAnswer(slowly),
    ));
    let request = cri::RunPodSandboxRequest {
        config: Some(pod.clone()),
        ..Default::default()
    };
    hang_up(daemon.runtime().run_pod_sandbox(request)).await;
    proxy.clear_rules();
    let began = Instant::now();
    let sandbox = loop {
        if let [sandbox] = &sandboxes(&daemon).await[..] {
            let status = daemon.sandbox_status(&sandbox.id).await;
            if status.state() == PodSandboxState::SandboxReady {
                assert!(!status.network.unwrap().ip.is_empty());
                break sandbox.id.clone();
            }
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            sandboxes(&daemon).await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    // CreateContainer.
    proxy.rule(Rule::on(
        "POST",
        "/containers/create",
        Action::DelayAnswer(slowly),
    ));
    let config = container_of(
        &pod,
        "main",
        &image,
        &["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"],
    );
    hang_up(daemon.try_create(&sandbox, &pod, &config)).await;
    proxy.clear_rules();
    let began = Instant::now();
    let id = loop {
        if let [container] = &containers(&daemon).await[..] {
            break container.id.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    daemon.start_container(&id).await;

    // StopContainer: the grace goes on, and the end comes.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let request = cri::StopContainerRequest {
        container_id: id.clone(),
        timeout: 2,
    };
    hang_up(daemon.runtime().stop_container(request)).await;
    assert_eq!(
        daemon.container_status(&id).await.state(),
        ContainerState::ContainerRunning
    );
    let status = daemon.ended(&id).await;
    assert_eq!(status.exit_code, 137, "{status:?}");

    // RemovePodSandbox.
    proxy.rule(Rule::on("DELETE", "/containers/{id}", Action::Delay(slowly)));
    let request = cri::RemovePodSandboxRequest {
        pod_sandbox_id: sandbox,
    };
    hang_up(daemon.runtime().remove_pod_sandbox(request)).await;
    let began = Instant::now();
    while !sandboxes(&daemon).await.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    crate::traces::no_traces(&daemon);
}
