//! Numbers of the README, measured on request only.

use std::{
    fs,
    time::{Duration, Instant},
};

use cri::{ListPodSandboxRequest, VersionRequest};

use crate::node::{SERVICE, cri, engine, lists, property, recovers, remove_sandbox, run, run_pod};

const PODS: usize = 50;

/// How long the kubelet's polling is imitated.
const POLLING: Duration = Duration::from_secs(120);

fn resident() -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", property(SERVICE, "MainPID"))).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// From `systemctl start` to the first answers with 50 pods, in times of the Engine's own list; and the memory
/// after lists and statuses have been asked for a while.
#[expect(clippy::print_stdout, reason = "the result of the measurement")]
pub(crate) async fn fifty_pods() {
    let mut pods = Vec::new();
    for number in 0..PODS {
        let sleep =
            |config: &mut cri::ContainerConfig| config.command = ["sleep", "100000"].map(Into::into).into();
        pods.push(run_pod(&format!("pod-{number}"), sleep).await);
    }
    for _ in 0..5 {
        let began = Instant::now();
        engine().ask("GET", "/containers/json?all=1", None);
        let list = began.elapsed();
        run(&["systemctl", "stop", SERVICE]);
        let began = Instant::now();
        run(&["systemctl", "start", SERVICE]);
        let started = began.elapsed();
        cri().runtime().version(VersionRequest::default()).await.unwrap();
        let version = began.elapsed();
        let answer = cri()
            .runtime()
            .list_pod_sandbox(ListPodSandboxRequest::default())
            .await;
        let pods = answer.unwrap().into_inner().items.len();
        println!(
            "number: {pods} pods: unit started {started:.0?}, Version {version:.0?}, ListPodSandbox {:.0?}; the Engine's own list {list:.0?}",
            began.elapsed()
        );
    }
    recovers().await;
    println!(
        "number: resident {} kB, unit {} bytes",
        resident(),
        property(SERVICE, "MemoryCurrent")
    );
    let (end, mut rounds) = (Instant::now() + POLLING, 0);
    while Instant::now() < end {
        let (_, containers) = lists().await;
        for container in containers.iter().take(3) {
            cri().container_status(&container.id).await;
        }
        rounds += 1;
    }
    println!(
        "number: after {rounds} rounds of polling in {POLLING:?}: resident {} kB, unit {} bytes",
        resident(),
        property(SERVICE, "MemoryCurrent")
    );
    for pod in pods {
        remove_sandbox(&pod.sandbox).await;
    }
}
