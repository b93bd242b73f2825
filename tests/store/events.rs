//! Container events, as a kubelet with evented PLEG wants them.

use std::time::Duration;

use cri::{
    ContainerEventResponse, ContainerEventType as Step, GetEventsRequest, RemovePodSandboxRequest,
    StopPodSandboxRequest,
};
use support::{Daemon, Engine, container_of};
use tonic::{Code, Streaming};

const PATIENCE: Duration = Duration::from_secs(30);

async fn subscribe(daemon: &Daemon) -> Streaming<ContainerEventResponse> {
    let answer = daemon.runtime().get_container_events(GetEventsRequest {}).await;
    answer.unwrap().into_inner()
}

/// The next event of a pod of the daemon's own.
async fn next(stream: &mut Streaming<ContainerEventResponse>, daemon: &Daemon) -> ContainerEventResponse {
    loop {
        let event = tokio::time::timeout(PATIENCE, stream.message()).await;
        let event = event.expect("an event in time").unwrap().expect("an event");
        let metadata = event
            .pod_sandbox_status
            .as_ref()
            .unwrap()
            .metadata
            .as_ref()
            .unwrap();
        if metadata.namespace == daemon.name() {
            return event;
        }
    }
}

/// Waits until the store knows the node: what it meets at its first look around is no event.
async fn know_the_node(daemon: &Daemon) {
    let mut stream = subscribe(daemon).await;
    for attempt in 0..30 {
        let pod = daemon.run_pod(&daemon.pod(&format!("before-{attempt}"))).await;
        // Its last step, or a later subscriber would hear it.
        let started = async {
            loop {
                let event = next(&mut stream, daemon).await;
                if event.container_id == pod && event.container_event_type() == Step::ContainerStartedEvent {
                    break;
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(1), started)
            .await
            .is_ok()
        {
            return;
        }
    }
    panic!("no pod is told of");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_subscribers_hear_all_steps_in_order() {
    let daemon = support::daemon!().start().await;
    let image = daemon.pull("busybox:1").await;
    know_the_node(&daemon).await;
    let (mut one, mut other) = (subscribe(&daemon).await, subscribe(&daemon).await);
    let pod = daemon.pod("pod");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "main", &image, &["sleep", "1000"]);
    let main = daemon.create(&sandbox, &pod, &config).await;
    daemon.start_container(&main).await;
    let config = container_of(&pod, "side", &image, &["sh", "-c", "exit 3"]);
    let side = daemon.run_container(&sandbox, &pod, &config).await;
    daemon.ended(&side).await;
    Engine::get().remove(&side);
    // Seen as well.
    let began = std::time::Instant::now();
    let gone = || cri::ContainerStatusRequest {
        container_id: side.clone(),
        verbose: false,
    };
    while daemon.runtime().container_status(gone()).await.is_ok() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let request = StopPodSandboxRequest {
        pod_sandbox_id: sandbox.clone(),
    };
    daemon.runtime().stop_pod_sandbox(request).await.unwrap();
    let request = RemovePodSandboxRequest {
        pod_sandbox_id: sandbox.clone(),
    };
    daemon.runtime().remove_pod_sandbox(request).await.unwrap();

    let mut events = Vec::new();
    while events.last().is_none_or(|event: &ContainerEventResponse| {
        (event.container_id.as_str(), event.container_event_type())
            != (sandbox.as_str(), Step::ContainerDeletedEvent)
    }) {
        let event = next(&mut one, &daemon).await;
        assert_eq!(next(&mut other, &daemon).await, event);
        events.push(event);
    }
    let life = [
        Step::ContainerCreatedEvent,
        Step::ContainerStartedEvent,
        Step::ContainerStoppedEvent,
        Step::ContainerDeletedEvent,
    ];
    for id in [&sandbox, &main, &side] {
        let own = events.iter().filter(|event| event.container_id == *id);
        let steps: Vec<_> = own.map(ContainerEventResponse::container_event_type).collect();
        assert_eq!(steps, life, "{events:#?}");
    }
    assert!(
        events.is_sorted_by(|a, b| a.created_at < b.created_at),
        "{events:#?}"
    );
    for event in &events {
        let status = event.pod_sandbox_status.as_ref().unwrap();
        assert_eq!((&status.id, &status.metadata), (&sandbox, &pod.metadata));
        let told: Vec<_> = event
            .containers_statuses
            .iter()
            .map(|status| &status.id)
            .collect();
        let is_container = event.container_id != sandbox;
        let gone = event.container_event_type() == Step::ContainerDeletedEvent;
        assert_eq!(
            told.contains(&&event.container_id),
            is_container && !gone,
            "{event:#?}"
        );
    }
    // When the second container ended, the first was told of, too.
    let ended = |event: &&ContainerEventResponse| {
        event.container_id == side && event.container_event_type() == Step::ContainerStoppedEvent
    };
    let ended = events.iter().find(ended).unwrap();
    let status = ended.containers_statuses.iter().find(|status| status.id == side);
    assert_eq!(status.map(|status| status.exit_code), Some(3));
    assert!(ended.containers_statuses.iter().any(|status| status.id == main));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_memory_there_are_no_events() {
    let daemon = support::daemon!().flag("--store=off").start().await;
    let answer = daemon.runtime().get_container_events(GetEventsRequest {}).await;
    assert_eq!(answer.unwrap_err().code(), Code::FailedPrecondition);
}
