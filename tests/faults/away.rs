//! An Engine that is not there, or does not answer.

use std::time::Duration;

use support::{Daemon, EngineProxy, container_of};
use tokio::time::timeout;
use tonic::Code;

use crate::ready::{ready, recovers};

/// For what is to come at once.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_absent_at_the_start_is_waited_for() {
    let proxy = EngineProxy::start();
    proxy.go_down();
    // It serves all the same.
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let (up, message) = ready(&daemon).await;
    assert!(
        !up && message.contains(proxy.socket().to_str().unwrap()),
        "{message}"
    );
    let mut runtime = daemon.runtime();
    let run = cri::RunPodSandboxRequest {
        config: Some(daemon.pod("early")),
        ..Default::default()
    };
    let answers = [
        runtime
            .list_pod_sandbox(cri::ListPodSandboxRequest::default())
            .await
            .map(drop),
        runtime
            .list_containers(cri::ListContainersRequest::default())
            .await
            .map(drop),
        runtime.run_pod_sandbox(run).await.map(drop),
        runtime.version(cri::VersionRequest::default()).await.map(drop),
        runtime
            .runtime_config(cri::RuntimeConfigRequest {})
            .await
            .map(drop),
        daemon
            .images()
            .list_images(cri::ListImagesRequest::default())
            .await
            .map(drop),
        daemon
            .images()
            .image_fs_info(cri::ImageFsInfoRequest {})
            .await
            .map(drop),
    ];
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(
            error.message().contains(proxy.socket().to_str().unwrap()),
            "{error}"
        );
    }
    proxy.come_back();
    recovers(&daemon).await;
    daemon.run_pod(&daemon.pod("early")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_is_reported_long_before_a_call_is_given_up() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    assert!(ready(&daemon).await.0);
    proxy.freeze();
    let (up, message) = ready(&daemon).await;
    assert!(!up && !message.is_empty(), "{message}");
    proxy.come_back();
    recovers(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_fails_calls_at_their_limit_and_leaves_what_is_known() {
    let proxy = EngineProxy::start();
    let options = support::daemon!().engine(proxy.socket());
    let daemon = options.flag("--runtime-request-timeout=3s").start().await;
    assert!(ready(&daemon).await.0);
    let pod = daemon.pod("one");
    let sandbox = daemon.run_pod(&pod).await;
    // What the last call has changed is looked at before.
    daemon.sandbox_status(&sandbox).await;
    proxy.freeze();
    // Callers that hang must not keep others from the answer.
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut runtime = daemon.runtime();
        // One that is not remembered is asked of the Engine.
        let request = cri::ContainerStatusRequest {
            container_id: "feedfeedfeed".into(),
            verbose: false,
        };
        waiting.push(tokio::spawn(async move {
            runtime.container_status(request).await.map(drop)
        }));
    }
    for _ in 0..3 {
        let (up, message) = ready(&daemon).await;
        assert!(!up && !message.is_empty(), "{message}");
    }
    // The node has not become empty: what the Engine has said last holds until its events break off.
    let list = daemon
        .runtime()
        .list_pod_sandbox(cri::ListPodSandboxRequest::default())
        .await;
    match list {
        Ok(list) => assert!(list.into_inner().items.iter().any(|item| item.id == sandbox)),
        // Another test's pod has just changed.
        Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error}"),
    }
    for answer in waiting {
        let error = answer.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    }
    proxy.come_back();
    recovers(&daemon).await;
    let image = daemon.pull("busybox:1").await;
    let config = container_of(&pod, "main", &image, &["sleep", "1000"]);
    daemon.run_container(&sandbox, &pod, &config).await;
}

/// Idle connections that the Engine has closed meanwhile are no error of the next call.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_was_away_for_a_moment_is_not_noticed_afterwards() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let sandbox = daemon.run_pod(&daemon.pod("one")).await;
    for _ in 0..5 {
        proxy.go_down();
        proxy.come_back();
        daemon.sandbox_status(&sandbox).await;
    }
}

/// As at a restart behind `docker.socket`: systemd takes the connections, and nobody answers on them yet.
fn restarts(proxy: &EngineProxy) {
    proxy.go_down();
    proxy.freeze();
    support::eventually("the proxy's socket is there", PATIENCE, || {
        proxy.socket().exists().then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_being_started_holds_up_only_what_needs_it() {
    let proxy = EngineProxy::start();
    let options = support::daemon!().engine(proxy.socket());
    let daemon = options.flag("--runtime-request-timeout=10m").start().await;
    recovers(&daemon).await;
    let version = |daemon: &Daemon| {
        let mut runtime = daemon.runtime();
        async move { runtime.version(cri::VersionRequest::default()).await }
    };
    let before = version(&daemon).await.unwrap().into_inner();
    // With containerd's store the sum of sizes needs the Engine, and is kept for a while.
    let mut images = daemon.images();
    images.image_fs_info(cri::ImageFsInfoRequest {}).await.unwrap();
    restarts(&proxy);
    proxy.take();
    let mut runtime = daemon.runtime();
    let asking = tokio::spawn(async move { runtime.runtime_config(cri::RuntimeConfigRequest {}).await });
    proxy.met("GET", "/_ping").await;
    let usage = timeout(PATIENCE, images.image_fs_info(cri::ImageFsInfoRequest {})).await;
    usage.expect("the disk is there").unwrap();
    let after = timeout(PATIENCE, version(&daemon)).await;
    assert_eq!(after.expect("it is known").unwrap().into_inner(), before);
    proxy.come_back();
    asking.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_come_to_answer_is_not_waited_for_for_ever() {
    let proxy = EngineProxy::start();
    restarts(&proxy);
    let options = support::daemon!().engine(proxy.socket());
    let daemon = options.flag("--runtime-request-timeout=1s").start().await;
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let mut runtime = daemon.runtime();
            let call = async move { runtime.runtime_config(cri::RuntimeConfigRequest {}).await };
            tokio::spawn(timeout(PATIENCE, call))
        })
        .collect();
    for answer in waiting {
        let answer = answer
            .await
            .unwrap()
            .expect("each has its own limit, not one after the other");
        assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
    }
}
