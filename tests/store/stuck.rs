//! What the Engine cannot inspect keeps nothing else from being told.

use std::time::Duration;

use cri::{ListContainerStatsRequest, ListContainersRequest, StartContainerRequest};
use support::{Action, Daemon, EngineProxy, Rule, container_of};

/// How long a kubelet waits for such answers.
const PATIENCE: Duration = Duration::from_secs(120);

/// The ids of all containers, and of those with statistics.
async fn told(daemon: &Daemon) -> [Vec<String>; 2] {
    let mut runtime = daemon.runtime();
    let (list, stats) = (
        ListContainersRequest::default(),
        ListContainerStatsRequest::default(),
    );
    let listed = tokio::time::timeout(PATIENCE, runtime.list_containers(list)).await;
    let listed = listed.unwrap().unwrap().into_inner().containers;
    let counted = tokio::time::timeout(PATIENCE, runtime.list_container_stats(stats)).await;
    let counted = counted.unwrap().unwrap().into_inner().stats;
    let counted = counted.into_iter().map(|one| one.attributes.unwrap().id);
    [listed.into_iter().map(|one| one.id).collect(), counted.collect()]
}

/// Fails unless both are listed, and the one that runs has statistics, each time.
async fn is_told(daemon: &Daemon, runs: &String, hangs: &String) {
    for _ in 0..3 {
        let [listed, counted] = told(daemon).await;
        assert!(listed.contains(runs) && listed.contains(hangs), "{listed:?}");
        assert!(counted.contains(runs), "{counted:?}");
    }
}

/// As where a mount of a container hangs while the Engine starts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_hangs_hides_no_other_container() {
    let proxy = EngineProxy::start();
    let mut daemon = support::daemon!().engine(proxy.socket()).start().await;
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("pod");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "runs", &image, &["sleep", "1000"]);
    let runs = daemon.run_container(&sandbox, &pod, &config).await;
    let config = container_of(&pod, "hangs", &image, &["sleep", "1000"]);
    let hangs = daemon.create(&sandbox, &pod, &config).await;
    for template in ["/containers/{id}/start", "/containers/{id}/json"] {
        let id = hangs.clone();
        let is_of_it = move |call: &support::Call| call.template == template && call.path.contains(&id);
        proxy.rule(Rule::when(is_of_it, Action::Hang));
    }
    let mut runtime = daemon.runtime();
    let request = StartContainerRequest {
        container_id: hangs.clone(),
    };
    let start = tokio::spawn(async move { runtime.start_container(request).await });
    is_told(&daemon, &runs, &hangs).await;
    // One that starts anew cannot know it at all.
    daemon.kill();
    start.await.unwrap().unwrap_err();
    daemon.start_again().await;
    is_told(&daemon, &runs, &hangs).await;
}
