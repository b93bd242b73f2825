//! Pods and containers from their making to their removal, on a real Engine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "lifecycle/containers.rs"]
mod containers;
#[path = "lifecycle/ends.rs"]
mod ends;
#[path = "lifecycle/exec.rs"]
mod exec;
#[path = "lifecycle/files.rs"]
mod files;
#[path = "lifecycle/lists.rs"]
mod lists;
#[path = "lifecycle/namespaces.rs"]
mod namespaces;
#[path = "lifecycle/sandboxes.rs"]
mod sandboxes;
#[path = "lifecycle/security.rs"]
mod security;

use cri::{
    ContainerConfig, ContainerFilter, LinuxContainerResources, LinuxContainerSecurityContext,
    ListContainersRequest, ListPodSandboxRequest, PodSandboxConfig, PodSandboxFilter, RemoveContainerRequest,
    RemovePodSandboxRequest, StopContainerRequest, StopPodSandboxRequest,
};
use support::{Daemon, SLEEP, container_of};

/// A daemon with a running pod.
struct Node {
    daemon: Daemon,
    image: String,
    pod: PodSandboxConfig,
    sandbox: String,
}

impl Node {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With a pod that is not as usual.
    async fn with(change: impl FnOnce(&mut PodSandboxConfig)) -> Self {
        let daemon = support::daemon!().start().await;
        let image = daemon.pull("busybox:1").await;
        let mut pod = daemon.pod("pod");
        change(&mut pod);
        let sandbox = daemon.run_pod(&pod).await;
        Self {
            daemon,
            image,
            pod,
            sandbox,
        }
    }

    fn config(&self, name: &str, command: &[&str]) -> ContainerConfig {
        container_of(&self.pod, name, &self.image, command)
    }

    async fn run(&self, config: &ContainerConfig) -> String {
        self.daemon.run_container(&self.sandbox, &self.pod, config).await
    }

    /// Runs a sleeping container that is not as usual.
    async fn asleep(&self, change: impl FnOnce(&mut ContainerConfig)) -> String {
        let mut config = self.config("asleep", SLEEP);
        change(&mut config);
        self.run(&config).await
    }

    async fn list(&self, filter: ContainerFilter) -> Vec<cri::Container> {
        containers(&self.daemon, filter).await
    }

    async fn item(&self, id: &str) -> cri::Container {
        let filter = ContainerFilter {
            id: id.into(),
            ..Default::default()
        };
        let mut items = self.list(filter).await;
        assert_eq!(items.len(), 1, "{items:?}");
        items.remove(0)
    }
}

async fn containers(daemon: &Daemon, filter: ContainerFilter) -> Vec<cri::Container> {
    let request = ListContainersRequest { filter: Some(filter) };
    daemon
        .runtime()
        .list_containers(request)
        .await
        .unwrap()
        .into_inner()
        .containers
}

async fn sandboxes(daemon: &Daemon, filter: PodSandboxFilter) -> Vec<cri::PodSandbox> {
    let request = ListPodSandboxRequest { filter: Some(filter) };
    daemon
        .runtime()
        .list_pod_sandbox(request)
        .await
        .unwrap()
        .into_inner()
        .items
}

async fn stop_sandbox(daemon: &Daemon, id: &str) {
    let request = StopPodSandboxRequest {
        pod_sandbox_id: id.into(),
    };
    daemon.runtime().stop_pod_sandbox(request).await.unwrap();
}

async fn remove_sandbox(daemon: &Daemon, id: &str) {
    let request = RemovePodSandboxRequest {
        pod_sandbox_id: id.into(),
    };
    daemon.runtime().remove_pod_sandbox(request).await.unwrap();
}

async fn stop(daemon: &Daemon, id: &str, timeout: i64) {
    let request = StopContainerRequest {
        container_id: id.into(),
        timeout,
    };
    daemon.runtime().stop_container(request).await.unwrap();
}

async fn remove(daemon: &Daemon, id: &str) {
    let request = RemoveContainerRequest {
        container_id: id.into(),
    };
    daemon.runtime().remove_container(request).await.unwrap();
}

fn context(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}

fn resources(config: &mut ContainerConfig) -> &mut LinuxContainerResources {
    config.linux.as_mut().unwrap().resources.as_mut().unwrap()
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_nanos().try_into().unwrap()
}
