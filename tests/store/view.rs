//! All that a daemon says of a pod's namespace, for comparison.

use std::time::{Duration, Instant};

use cri::{
    ContainerFilter, ContainerStatusRequest, ListContainersRequest, ListImagesRequest, ListPodSandboxRequest,
    PodSandboxFilter, PodSandboxState, PodSandboxStatusRequest, StreamContainersRequest,
    StreamPodSandboxesRequest,
};
use support::Daemon;
use tonic::Status;

/// How long something done by hand may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two daemons at one Engine: the first remembers, the second asks each time.
pub(crate) struct Pair {
    pub(crate) on: Daemon,
    pub(crate) off: Daemon,
}

impl Pair {
    pub(crate) async fn new(options: support::Options) -> Self {
        let on = options.start().await;
        // Addresses are in the cache of the one that has asked for them.
        let cache = format!("--cni-cache-dir={}", on.dir().join("cache").display());
        let off = support::daemon!().flag("--store=off").flag(cache).start().await;
        Self { on, off }
    }

    async fn both(&self) -> Result<(Vec<String>, Vec<String>), Status> {
        let namespace = self.on.name();
        Ok((all(&self.on, namespace).await?, all(&self.off, namespace).await?))
    }

    /// Both say the same at once.
    pub(crate) async fn agree(&self, after: &str) {
        let (on, off) = self.both().await.unwrap();
        assert_eq!(on, off, "after {after}");
    }

    /// Both say the same before long.
    pub(crate) async fn come_to_agree(&self, after: &str) {
        let began = Instant::now();
        loop {
            let both = self.both().await;
            match &both {
                Ok((on, off)) if on == off => return,
                _ => assert!(began.elapsed() < PATIENCE, "after {after}: {both:#?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Everything that reads tell, in an order that does not depend on who is asked.
async fn all(daemon: &Daemon, namespace: &str) -> Result<Vec<String>, Status> {
    let mut runtime = daemon.runtime();
    let mut told = Vec::new();
    let label = ("io.kubernetes.pod.namespace".to_owned(), namespace.to_owned());
    let wanted = PodSandboxFilter {
        label_selector: [label.clone()].into(),
        ..Default::default()
    };
    let request = ListPodSandboxRequest {
        filter: Some(wanted.clone()),
    };
    let mut sandboxes = runtime.list_pod_sandbox(request).await?.into_inner().items;
    let request = StreamPodSandboxesRequest { filter: Some(wanted) };
    let mut stream = runtime.stream_pod_sandboxes(request).await?.into_inner();
    let mut streamed = Vec::new();
    while let Some(part) = stream.message().await? {
        streamed.extend(part.pod_sandboxes);
    }
    for list in [&mut sandboxes, &mut streamed] {
        list.sort_by(|a, b| a.id.cmp(&b.id));
    }
    told.push(format!("{streamed:#?}"));
    let wanted = ContainerFilter {
        label_selector: [label].into(),
        ..Default::default()
    };
    let request = ListContainersRequest {
        filter: Some(wanted.clone()),
    };
    let mut containers = runtime.list_containers(request).await?.into_inner().containers;
    let request = StreamContainersRequest { filter: Some(wanted) };
    let mut stream = runtime.stream_containers(request).await?.into_inner();
    let mut streamed = Vec::new();
    while let Some(part) = stream.message().await? {
        streamed.extend(part.containers);
    }
    for list in [&mut containers, &mut streamed] {
        list.sort_by(|a, b| a.id.cmp(&b.id));
    }
    told.push(format!("{streamed:#?}"));
    for sandbox in sandboxes {
        told.push(format!("{sandbox:#?}"));
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: sandbox.id,
            verbose: true,
        };
        let mut answer = runtime.pod_sandbox_status(request).await?.into_inner();
        // Told by memory only.
        answer.timestamp = 0;
        answer.containers_statuses.clear();
        // The other daemon has seen an address, and not that the network was taken down.
        if let Some(status) = &mut answer.status
            && status.state() == PodSandboxState::SandboxNotready
        {
            status.network = None;
        }
        told.push(format!("{answer:#?}"));
    }
    for container in containers {
        told.push(format!("{container:#?}"));
        let request = ContainerStatusRequest {
            container_id: container.id,
            verbose: true,
        };
        told.push(format!(
            "{:#?}",
            runtime.container_status(request).await?.into_inner()
        ));
    }
    let images = daemon.images().list_images(ListImagesRequest::default()).await?;
    let mut images = images.into_inner().images;
    // Other tests pull, tag and remove meanwhile.
    images.retain(|image| {
        image
            .repo_tags
            .iter()
            .any(|tag| tag.contains(&format!("{namespace}-")))
    });
    images.sort_by(|a, b| a.id.cmp(&b.id));
    for image in &mut images {
        image
            .repo_tags
            .retain(|tag| tag.contains(&format!("{namespace}-")));
        image.repo_digests.clear();
    }
    told.push(format!("{images:#?}"));
    Ok(told)
}
