//! Configurations of pods and containers, as the kubelet writes them.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use cri::{
    ContainerConfig, ContainerMetadata, ImageSpec, LinuxContainerConfig, LinuxContainerResources,
    LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
};

use crate::{Daemon, Env};

/// Sleeps, and ends at SIGTERM.
pub const SLEEP: &[&str] = &["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"];

/// Hears no SIGTERM, and says `ready` once that is so (see [`Cri::says`](crate::Cri::says)).
pub const DEAF: &[&str] = &[
    "sh",
    "-c",
    "trap '' TERM; echo ready; while :; do sleep 0.1; done",
];

/// The labels that the kubelet gives a pod and its containers.
pub fn pod_labels(metadata: &PodSandboxMetadata) -> BTreeMap<String, String> {
    [
        ("name", &metadata.name),
        ("namespace", &metadata.namespace),
        ("uid", &metadata.uid),
    ]
    .map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.clone()))
    .into()
}

fn namespaces() -> NamespaceOption {
    NamespaceOption {
        network: NamespaceMode::Pod.into(),
        pid: NamespaceMode::Container.into(),
        ipc: NamespaceMode::Pod.into(),
        ..Default::default()
    }
}

impl Daemon {
    /// A pod on the pod network, in this daemon's Kubernetes namespace, with a uid of its own.
    pub fn pod(&self, name: &str) -> PodSandboxConfig {
        pod(self.name(), name, &self.dir().join("pods"), |uid| {
            format!("{}/{}/pod{uid}", Env::get().cgroup, self.name())
        })
    }
}

/// A pod on the pod network with a uid of its own, by which its `cgroup` is named. Its logs are below `logs`.
pub fn pod(
    namespace: &str,
    name: &str,
    logs: &Path,
    cgroup: impl FnOnce(&str) -> String,
) -> PodSandboxConfig {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let uid = format!("{:08x}-0000-4000-8000-{count:012x}", std::process::id());
    let metadata = PodSandboxMetadata {
        name: name.into(),
        uid: uid.clone(),
        namespace: namespace.into(),
        attempt: 0,
    };
    PodSandboxConfig {
        hostname: name.replace(['_', '.'], "-"),
        log_directory: logs.join(&uid).display().to_string(),
        labels: pod_labels(&metadata),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: cgroup(&uid),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        metadata: Some(metadata),
        ..Default::default()
    }
}

/// A container that runs `command` in place of what its image says; `image` is an id or a reference.
pub fn container(name: &str, image: &str, command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: name.into(),
            attempt: 0,
        }),
        image: Some(ImageSpec {
            image: image.into(),
            ..Default::default()
        }),
        command: command.iter().map(|&word| word.into()).collect(),
        labels: [("io.kubernetes.container.name".to_owned(), name.to_owned())].into(),
        log_path: format!("{name}/0.log"),
        linux: Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources::default()),
            security_context: Some(LinuxContainerSecurityContext {
                namespace_options: Some(namespaces()),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

/// The same with the labels that the kubelet gives a container of `pod`.
pub fn container_of(pod: &PodSandboxConfig, name: &str, image: &str, command: &[&str]) -> ContainerConfig {
    let mut config = container(name, image, command);
    config
        .labels
        .extend(pod_labels(&pod.metadata.clone().unwrap_or_default()));
    config
}
