//! The Engine ends and comes back. In a process of its own: it is the Engine of all tests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "engine_restart/logs.rs"]
mod logs;
#[path = "faults/ready.rs"]
mod ready;
#[path = "engine_restart/remapped.rs"]
mod remapped;

use std::process::Command;

use cri::{ContainerState, PodSandboxState};
use support::{Env, container_of};
use tonic::Code;

use ready::{ready, recovers};

/// One test at a time has the Engine.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn engine(command: &str, options: &[&str]) {
    let status = Command::new(Env::get().dir.join(command))
        .args(options)
        .status()
        .unwrap();
    assert!(status.success(), "{command}: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_ends_and_comes_back_is_followed() {
    let _alone = ALONE.lock().await;
    let mut daemon = support::daemon!().start().await;
    let image = daemon.pull("busybox:1").await;
    let mut pod = daemon.pod("survivor");
    pod.annotations = [("some".to_owned(), "thing".to_owned())].into();
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "main", &image, &["sleep", "1000"]);
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let before = daemon.container_status(&id).await;
    for stop in ["engine-stop", "engine-kill"] {
        engine(stop, &[]);
        let (up, message) = ready(&daemon).await;
        assert!(
            !up && message.contains(Env::get().engine.to_str().unwrap()),
            "{message}"
        );
        let mut runtime = daemon.runtime();
        let codes = [
            runtime
                .list_pod_sandbox(cri::ListPodSandboxRequest::default())
                .await
                .map(drop),
            runtime
                .list_containers(cri::ListContainersRequest::default())
                .await
                .map(drop),
            daemon
                .images()
                .list_images(cri::ListImagesRequest::default())
                .await
                .map(drop),
            runtime
                .container_status(cri::ContainerStatusRequest {
                    container_id: id.clone(),
                    verbose: false,
                })
                .await
                .map(drop),
            runtime
                .stop_pod_sandbox(cri::StopPodSandboxRequest {
                    pod_sandbox_id: sandbox.clone(),
                })
                .await
                .map(drop),
        ]
        .map(|answer| answer.map_err(|error| error.code()));
        assert_eq!(
            codes,
            [Err(Code::Unavailable); 5],
            "an Engine that is away is no empty node"
        );
        // One that is started meanwhile waits for it.
        daemon.restart().await;
        assert!(!ready(&daemon).await.0);
        engine("engine-start", &[]);
        recovers(&daemon).await;
    }
    let after = daemon.container_status(&id).await;
    assert_eq!(after.state(), ContainerState::ContainerExited);
    assert_eq!(
        (
            &after.metadata,
            &after.labels,
            after.created_at,
            &after.image,
            &after.mounts
        ),
        (
            &before.metadata,
            &before.labels,
            before.created_at,
            &before.image,
            &before.mounts
        )
    );
    let status = daemon.sandbox_status(&sandbox).await;
    assert_eq!(status.state(), PodSandboxState::SandboxNotready);
    assert_eq!(status.annotations, pod.annotations);
    // As the kubelet does after a restart of the node.
    let request = cri::StopPodSandboxRequest {
        pod_sandbox_id: sandbox.clone(),
    };
    daemon.runtime().stop_pod_sandbox(request).await.unwrap();
    pod.metadata.as_mut().unwrap().attempt = 1;
    let next = daemon.run_pod(&pod).await;
    let id = daemon.run_container(&next, &pod, &config).await;
    assert_eq!(daemon.sh(&id, "echo again").await, "again");
    for sandbox in [sandbox, next] {
        let request = cri::RemovePodSandboxRequest {
            pod_sandbox_id: sandbox,
        };
        daemon.runtime().remove_pod_sandbox(request).await.unwrap();
    }
    assert_eq!(
        support::Engine::get()
            .named(&format!("_{}_", daemon.name()))
            .len(),
        0
    );
}
