//! The Engine does not remove what it is told to.

use cri::{ListContainersRequest, RemovePodSandboxRequest};
use serde_json::json;
use support::{Action, Call, Daemon, Engine, EngineProxy, Rule, container_of};

use crate::traces::no_traces;

async fn daemon(store: &str) -> (EngineProxy, Daemon) {
    let proxy = EngineProxy::start();
    let options = support::daemon!().engine(proxy.socket()).flag(store);
    let daemon = options.start().await;
    (proxy, daemon)
}

/// The next removals of a container, so many, are not done.
fn refuse(proxy: &EngineProxy, id: &str, count: usize, status: u16, message: &str) {
    let removal = format!("/containers/{id}?");
    let removes = move |call: &Call| call.method == "DELETE" && call.path.contains(&removal);
    let answer = Action::Answer(status, json!({ "message": message }));
    proxy.rule(Rule::when(removes, answer).times(count));
}

async fn listed(daemon: &Daemon, sandbox: &str) -> Vec<String> {
    let containers = daemon
        .runtime()
        .list_containers(ListContainersRequest::default())
        .await;
    let containers = containers.unwrap().into_inner().containers.into_iter();
    containers
        .filter(|container| container.pod_sandbox_id == sandbox)
        .map(|container| container.id)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_name_is_needed_is_listed_until_it_is_gone() {
    for store in ["--store=on", "--store=off"] {
        let (proxy, daemon) = daemon(store).await;
        let image = daemon.pull("busybox:1").await;
        let pod = daemon.pod("again");
        let sandbox = daemon.run_pod(&pod).await;
        let config = container_of(&pod, "c", &image, &["sleep", "1000"]);
        let first = daemon.create(&sandbox, &pod, &config).await;
        assert_eq!(listed(&daemon, &sandbox).await, [first.as_str()]);
        refuse(
            &proxy,
            &first,
            1,
            500,
            "the driver failed to remove the root filesystem",
        );
        let error = daemon.try_create(&sandbox, &pod, &config).await.unwrap_err();
        assert!(error.message().contains("root filesystem"), "{error}");
        assert_eq!(listed(&daemon, &sandbox).await, [first.as_str()], "{store}");
        let second = daemon.create(&sandbox, &pod, &config).await;
        assert_eq!(listed(&daemon, &sandbox).await, [second]);
        assert!(Engine::get().find(&first).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_somebody_else_has_begun_is_waited_for() {
    let (proxy, daemon) = daemon("--store=on").await;
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("forced");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "c", &image, &["sleep", "1000"]);
    let container = daemon.run_container(&sandbox, &pod, &config).await;
    for id in [&sandbox, &container] {
        refuse(
            &proxy,
            id,
            2,
            409,
            &format!("removal of container {id} is already in progress"),
        );
    }
    let request = RemovePodSandboxRequest {
        pod_sandbox_id: sandbox.clone(),
    };
    daemon.runtime().remove_pod_sandbox(request).await.unwrap();
    no_traces(&daemon);
}
