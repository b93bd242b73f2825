//! What runs, as the store has it: a container's process and when it was started are known there.

use std::{collections::HashSet, sync::Arc};

use super::Stats;
use crate::{
    error::Result,
    store::{Container, ContainerView, Sandbox, SandboxView},
};

pub(super) fn attributes(container: &Container) -> cri::ContainerAttributes {
    let config = &container.record.config;
    cri::ContainerAttributes {
        id: container.id.clone(),
        metadata: config.metadata.clone(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
    }
}

pub(super) fn pod_attributes(sandbox: &Sandbox) -> cri::PodSandboxAttributes {
    let config = &sandbox.record.config;
    cri::PodSandboxAttributes {
        id: sandbox.id.clone(),
        metadata: config.metadata.clone(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
    }
}

/// The image as it was asked for.
pub(super) fn image(view: &ContainerView) -> &str {
    let asked = view.container.record.config.image.as_ref();
    asked
        .map(|spec| [&spec.user_specified_image, &spec.image])
        .and_then(|names| names.into_iter().find(|name| !name.is_empty()))
        .unwrap_or(&view.inspect.config.image)
}

impl Stats {
    /// The running containers that `filter` lets pass.
    pub(super) async fn running(&self, mut filter: cri::ContainerFilter) -> Result<Vec<Arc<ContainerView>>> {
        filter.state = Some(cri::ContainerStateValue {
            state: cri::ContainerState::ContainerRunning.into(),
        });
        self.store.containers(&filter).await
    }

    /// The running sandboxes that `filter` lets pass.
    pub(super) async fn running_pods(
        &self,
        mut filter: cri::PodSandboxFilter,
    ) -> Result<Vec<Arc<SandboxView>>> {
        filter.state = Some(cri::PodSandboxStateValue {
            state: cri::PodSandboxState::SandboxReady.into(),
        });
        self.store.sandboxes(&filter).await
    }

    /// Forgets all containers that do not run any more, and, where these are told, all sandboxes.
    pub(super) fn forget_others(&self, pods: Option<&[Arc<SandboxView>]>, containers: &[Arc<ContainerView>]) {
        let containers = containers.iter().map(|view| view.container.id.as_str());
        let pauses = pods
            .unwrap_or_default()
            .iter()
            .map(|view| view.sandbox.id.as_str());
        let alive: HashSet<_> = containers.chain(pauses).collect();
        self.places().retain(|id, place| {
            let is_kept = pods.is_none() && place.process.is_some();
            is_kept || alive.contains(id.as_str())
        });
        self.layers.retain(|id| alive.contains(id));
    }
}
