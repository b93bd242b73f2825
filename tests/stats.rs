//! Statistics and metrics, judged by the Engine's own and by the kernel's files; traces, judged by a collector.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "stats/containers.rs"]
mod containers;
#[path = "stats/http.rs"]
mod http;
#[path = "stats/metrics.rs"]
mod metrics;
#[path = "stats/pods.rs"]
mod pods;
#[path = "stats/traces.rs"]
mod traces;

use std::time::Duration;

use cri::{
    ContainerStats, ContainerStatsFilter, ListContainerStatsRequest, ListPodSandboxStatsRequest,
    PodSandboxConfig, PodSandboxStats, PodSandboxStatsFilter, UInt64Value,
};
use support::{Daemon, Options, container_of};

/// How long something may take that takes no time on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

const SLEEP: &[&str] = &["sleep", "1000"];

/// A daemon with a running pod.
struct Node {
    daemon: Daemon,
    image: String,
    pod: PodSandboxConfig,
    sandbox: String,
}

impl Node {
    async fn new() -> Self {
        Self::of(support::daemon!()).await
    }

    async fn of(options: Options) -> Self {
        let daemon = options.start().await;
        let image = daemon.pull("busybox:1").await;
        let pod = daemon.pod("pod");
        let sandbox = daemon.run_pod(&pod).await;
        Self {
            daemon,
            image,
            pod,
            sandbox,
        }
    }

    async fn run(&self, name: &str, command: &[&str]) -> String {
        let config = container_of(&self.pod, name, &self.image, command);
        self.daemon.run_container(&self.sandbox, &self.pod, &config).await
    }

    /// All statistics of this daemon's containers that `filter` lets pass.
    async fn list(&self, filter: ContainerStatsFilter) -> Vec<ContainerStats> {
        let request = ListContainerStatsRequest { filter: Some(filter) };
        let answer = self.daemon.runtime().list_container_stats(request).await;
        answer.unwrap().into_inner().stats
    }

    async fn stats(&self, id: &str) -> ContainerStats {
        let filter = ContainerStatsFilter {
            id: id.into(),
            ..Default::default()
        };
        let mut stats = self.list(filter).await;
        assert_eq!(stats.len(), 1, "{stats:?}");
        stats.remove(0)
    }

    async fn pod_stats(&self, id: &str) -> PodSandboxStats {
        let filter = PodSandboxStatsFilter {
            id: id.into(),
            ..Default::default()
        };
        let request = ListPodSandboxStatsRequest { filter: Some(filter) };
        let answer = self.daemon.runtime().list_pod_sandbox_stats(request).await;
        let mut stats = answer.unwrap().into_inner().stats;
        assert_eq!(stats.len(), 1, "{stats:?}");
        stats.remove(0)
    }

    /// Asks until an answer is as `wanted`.
    async fn until(&self, id: &str, wanted: impl Fn(&ContainerStats) -> bool) -> ContainerStats {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let stats = self.stats(id).await;
            if wanted(&stats) {
                return stats;
            }
            assert!(
                std::time::Instant::now() < end,
                "not within {PATIENCE:?}: {stats:?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn id(stats: &ContainerStats) -> &str {
    &stats.attributes.as_ref().unwrap().id
}

fn number(value: Option<UInt64Value>) -> u64 {
    value.expect("a number that must be there").value
}

/// Processor time so far.
fn cpu(stats: &ContainerStats) -> u64 {
    number(stats.cpu.as_ref().unwrap().usage_core_nano_seconds)
}
