//! What is done with the Engine's own tools is seen as well, and as if it had been asked of the Engine.

use std::time::Duration;

use cri::{ContainerState, RemovePodSandboxRequest, StopContainerRequest, StopPodSandboxRequest};
use serde_json::json;
use support::{Engine, container_of, eventually};

use super::view::Pair;

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_engine_say_the_same_after_each_step() {
    let pair = Pair::new(support::daemon!()).await;
    let daemon = &pair.on;
    let image = daemon.pull("busybox:1").await;
    pair.agree("a pull").await;
    let pod = daemon.pod("pod");
    let sandbox = daemon.run_pod(&pod).await;
    pair.agree("RunPodSandbox").await;
    let config = container_of(&pod, "main", &image, &["sleep", "1000"]);
    let id = daemon.create(&sandbox, &pod, &config).await;
    pair.agree("CreateContainer").await;
    daemon.start_container(&id).await;
    pair.agree("StartContainer").await;
    let limits = cri::UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(cri::LinuxContainerResources {
            cpu_shares: 300,
            ..Default::default()
        }),
        ..Default::default()
    };
    daemon.runtime().update_container_resources(limits).await.unwrap();
    pair.agree("UpdateContainerResources").await;
    let config = container_of(&pod, "fails", &image, &["/there/is/none"]);
    let failed = daemon.create(&sandbox, &pod, &config).await;
    let request = cri::StartContainerRequest {
        container_id: failed.clone(),
    };
    daemon.runtime().start_container(request).await.unwrap_err();
    assert_eq!(
        daemon.container_status(&failed).await.state(),
        ContainerState::ContainerExited
    );
    pair.agree("a start that fails").await;
    let config = container_of(&pod, "ends", &image, &["sh", "-c", "exit 3"]);
    let ends = daemon.run_container(&sandbox, &pod, &config).await;
    daemon.ended(&ends).await;
    pair.come_to_agree("an end").await;
    let request = StopContainerRequest {
        container_id: id.clone(),
        timeout: 0,
    };
    daemon.runtime().stop_container(request).await.unwrap();
    pair.agree("StopContainer").await;
    let request = cri::RemoveContainerRequest { container_id: id };
    daemon.runtime().remove_container(request).await.unwrap();
    pair.agree("RemoveContainer").await;
    let request = StopPodSandboxRequest {
        pod_sandbox_id: sandbox.clone(),
    };
    daemon.runtime().stop_pod_sandbox(request).await.unwrap();
    pair.agree("StopPodSandbox").await;
    let request = RemovePodSandboxRequest {
        pod_sandbox_id: sandbox,
    };
    daemon.runtime().remove_pod_sandbox(request).await.unwrap();
    pair.agree("RemovePodSandbox").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_by_hand_is_seen() {
    let pair = Pair::new(support::daemon!().flag("--store-check-interval=1s")).await;
    let daemon = &pair.on;
    let engine = Engine::get();
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("pod");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "main", &image, &["sleep", "1000"]);
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let tag = format!("{}-tag", daemon.name());
    let post = |path: &str| drop(engine.ask("POST", path, None));
    type Step<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let steps: Vec<Step<'_>> = vec![
        ("pause", Box::new(|| post(&format!("/containers/{id}/pause")))),
        ("unpause", Box::new(|| post(&format!("/containers/{id}/unpause")))),
        (
            "rename",
            Box::new(|| {
                post(&format!(
                    "/containers/{id}/rename?name=renamed_{}_",
                    daemon.name()
                ))
            }),
        ),
        (
            "update",
            Box::new(|| {
                let limits = json!({ "CpuShares": 512 });
                engine.ask("POST", &format!("/containers/{id}/update"), Some(&limits));
            }),
        ),
        ("stop", Box::new(|| post(&format!("/containers/{id}/stop?t=0")))),
        ("start", Box::new(|| post(&format!("/containers/{id}/start")))),
        (
            "restart",
            Box::new(|| post(&format!("/containers/{id}/restart?t=0"))),
        ),
        ("kill", Box::new(|| post(&format!("/containers/{id}/kill")))),
        (
            "tag",
            Box::new(|| post(&format!("/images/{image}/tag?repo={tag}&tag=1"))),
        ),
        (
            "another tag",
            Box::new(|| post(&format!("/images/{image}/tag?repo={tag}&tag=2"))),
        ),
        (
            "rmi",
            Box::new(|| drop(engine.ask("DELETE", &format!("/images/{tag}:1"), None))),
        ),
        (
            "rmi of the other",
            Box::new(|| drop(engine.ask("DELETE", &format!("/images/{tag}:2"), None))),
        ),
        ("rm", Box::new(|| engine.remove(&id))),
        (
            "kill of the sandbox",
            Box::new(|| post(&format!("/containers/{sandbox}/kill"))),
        ),
        ("rm of the sandbox", Box::new(|| engine.remove(&sandbox))),
    ];
    for (name, step) in steps {
        tokio::task::block_in_place(step);
        pair.come_to_agree(name).await;
    }
    // No comparison has had to mend anything. They follow each other, so when the second has begun, one that began after
    // the last step but one is over.
    let compared = || daemon.log().matches("compared with the engine").count();
    let before = compared();
    tokio::task::block_in_place(|| {
        eventually("two comparisons", Duration::from_secs(60), || {
            (compared() >= before + 2).then_some(())
        });
    });
    // Other tests' objects may have changed meanwhile.
    let log = daemon.log();
    let missed = |line: &&str| line.contains("was missed") && (line.contains(&id) || line.contains(&sandbox));
    assert_eq!(log.lines().find(missed), None);
}
