//! Callers that go away in the middle of a change.

use std::time::{Duration, Instant};

use cri::{ContainerState, PodSandboxState};
use support::{Action, DEAF, Daemon, EngineProxy, Rule, container_of};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Calls, and hangs up while the Engine is asked for what a rule holds.
async fn hang_up<T>(proxy: &EngineProxy, method: &str, template: &str, call: impl Future<Output = T>) {
    proxy.take();
    tokio::select! {
        _ = call => panic!("the call has ended before its caller"),
        () = proxy.met(method, template) => {}
    }
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

    // RunPodSandbox: it comes to have its network.
    let start = "/containers/{id}/start";
    proxy.rule(Rule::on("POST", start, Action::HoldAnswer));
    let request = cri::RunPodSandboxRequest {
        config: Some(pod.clone()),
        ..Default::default()
    };
    hang_up(&proxy, "POST", start, daemon.runtime().run_pod_sandbox(request)).await;
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
        assert!(began.elapsed() < PATIENCE, "{:?}", sandboxes(&daemon).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    // CreateContainer.
    let create = "/containers/create";
    proxy.rule(Rule::on("POST", create, Action::HoldAnswer));
    let config = container_of(&pod, "main", &image, DEAF);
    hang_up(&proxy, "POST", create, daemon.try_create(&sandbox, &pod, &config)).await;
    proxy.clear_rules();
    let began = Instant::now();
    let id = loop {
        if let [container] = &containers(&daemon).await[..] {
            break container.id.clone();
        }
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    daemon.start_container(&id).await;
    daemon.says(&id, "ready").await;

    // StopContainer: the grace goes on, and the end comes.
    let stop = "/containers/{id}/stop";
    proxy.rule(Rule::on("POST", stop, Action::Hold));
    let request = cri::StopContainerRequest {
        container_id: id.clone(),
        timeout: 2,
    };
    hang_up(&proxy, "POST", stop, daemon.runtime().stop_container(request)).await;
    assert_eq!(
        daemon.container_status(&id).await.state(),
        ContainerState::ContainerRunning
    );
    let began = Instant::now();
    proxy.clear_rules();
    let status = daemon.ended(&id).await;
    assert_eq!(status.exit_code, 137, "{status:?}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());

    // RemovePodSandbox.
    let remove = "/containers/{id}";
    proxy.rule(Rule::on("DELETE", remove, Action::Hold));
    let request = cri::RemovePodSandboxRequest {
        pod_sandbox_id: sandbox,
    };
    hang_up(
        &proxy,
        "DELETE",
        remove,
        daemon.runtime().remove_pod_sandbox(request),
    )
    .await;
    proxy.clear_rules();
    let began = Instant::now();
    while !sandboxes(&daemon).await.is_empty() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    crate::traces::no_traces(&daemon);
}
