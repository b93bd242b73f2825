//! Fields of CRI whose effect only an Engine can show, on a real one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "fields/groups.rs"]
mod groups;
#[path = "fields/resources.rs"]
mod resources;
#[path = "fields/rest.rs"]
mod rest;
#[path = "fields/security.rs"]
mod security;
#[path = "fields/volumes.rs"]
mod volumes;

use cri::{ContainerConfig, LinuxContainerSecurityContext, PodSandboxConfig};
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
        let daemon = support::daemon!().start().await;
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

    fn config(&self, name: &str, image: &str) -> ContainerConfig {
        container_of(&self.pod, name, image, SLEEP)
    }

    async fn run(&self, config: &ContainerConfig) -> String {
        self.daemon.run_container(&self.sandbox, &self.pod, config).await
    }

    /// Why a container cannot be created.
    async fn refused(&self, config: &ContainerConfig) -> tonic::Status {
        let created = self.daemon.try_create(&self.sandbox, &self.pod, config).await;
        created.expect_err("it was created")
    }
}

fn context(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}
