//! A CRI server that is measured, whoever it is: dockside, or containerd beside it.

use std::path::Path;

use cri::{
    ImageSpec, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    PodSandboxConfig, PodSandboxMetadata, PullImageRequest, RemovePodSandboxRequest, StopPodSandboxRequest,
    image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
};
use support::pod_labels;
use tokio::net::UnixStream;
use tonic::transport::Channel;

/// The process that serves at `socket`.
pub(crate) async fn process_at(socket: &Path) -> u32 {
    let stream = UnixStream::connect(socket).await.unwrap();
    let process = stream.peer_cred().unwrap().pid().expect("the server's process");
    process.try_into().unwrap()
}

/// Pulls an image; returns what containers name it by.
pub(crate) async fn pull(channel: Channel, image: String) -> String {
    let request = PullImageRequest {
        image: Some(ImageSpec {
            image,
            ..Default::default()
        }),
        ..Default::default()
    };
    let pulled = ImageServiceClient::new(channel).pull_image(request).await;
    pulled.unwrap().into_inner().image_ref
}

/// A pod in the host's network, so that any server can run it.
pub(crate) fn pod(name: &str, number: usize) -> PodSandboxConfig {
    let metadata = PodSandboxMetadata {
        name: name.into(),
        uid: format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id()),
        namespace: "bench".into(),
        attempt: 0,
    };
    let mut pod = PodSandboxConfig {
        log_directory: std::env::temp_dir().join(&metadata.uid).display().to_string(),
        labels: pod_labels(&metadata),
        metadata: Some(metadata),
        ..Default::default()
    };
    in_host_network(&mut pod);
    pod
}

pub(crate) fn in_host_network(pod: &mut PodSandboxConfig) {
    let linux = pod.linux.get_or_insert_with(LinuxPodSandboxConfig::default);
    let context = linux
        .security_context
        .get_or_insert_with(LinuxSandboxSecurityContext::default);
    let options = context
        .namespace_options
        .get_or_insert_with(NamespaceOption::default);
    options.network = NamespaceMode::Node.into();
    pod.hostname = String::new();
}

/// Stops and removes a pod with all its containers.
pub(crate) async fn remove_pod(mut runtime: RuntimeServiceClient<Channel>, pod_sandbox_id: String) {
    let removal = RemovePodSandboxRequest {
        pod_sandbox_id: pod_sandbox_id.clone(),
    };
    let stop = StopPodSandboxRequest { pod_sandbox_id };
    runtime.stop_pod_sandbox(stop).await.unwrap();
    runtime.remove_pod_sandbox(removal).await.unwrap();
}
