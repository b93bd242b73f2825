//! A sandbox or a container as it was at its last inspection.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cri::encoded::encoded;
use tokio::sync::OnceCell;
use translate::{answer::ContainerInspect, filter::Item, resources::live, status};

use super::{Container, Sandbox};
use crate::{engine::Engine, host::cgroup};

/// A sandbox as it was at its last inspection.
#[derive(Debug)]
pub struct SandboxView {
    /// Its lasting part.
    pub sandbox: Arc<Sandbox>,
    /// What the Engine said of its pause container, without the labels.
    pub inspect: ContainerInspect,
    state: i32,
    /// It as a list shows it, encoded: lists are asked for each second, and changes are rare.
    item: Bytes,
}

impl SandboxView {
    pub(super) fn new(sandbox: Arc<Sandbox>, mut inspect: ContainerInspect) -> Self {
        let item = status::sandbox_item_inspected(&inspect, &sandbox.record);
        trim(&mut inspect);
        Self {
            sandbox,
            inspect,
            state: item.state,
            item: encoded(&item),
        }
    }

    /// Its [`cri::PodSandbox`], encoded.
    pub fn item(&self) -> Bytes {
        self.item.clone()
    }

    pub(super) fn filtered(&self) -> Item<'_> {
        Item {
            id: &self.sandbox.id,
            sandbox_id: "",
            state: self.state,
            labels: &self.sandbox.record.config.labels,
        }
    }
}

/// A container as it was at its last inspection.
#[derive(Debug)]
pub struct ContainerView {
    /// Its lasting part.
    pub container: Arc<Container>,
    /// What the Engine said of it, without the labels.
    pub inspect: ContainerInspect,
    state: cri::ContainerState,
    /// As for a sandbox.
    item: Bytes,
    live: OnceCell<BTreeMap<String, String>>,
}

impl ContainerView {
    pub(super) fn new(container: Arc<Container>, mut inspect: ContainerInspect) -> Self {
        let item = status::container_item_inspected(&inspect, &container.sandbox_id, &container.record);
        trim(&mut inspect);
        Self {
            container,
            inspect,
            state: item.state(),
            item: encoded(&item),
            live: OnceCell::new(),
        }
    }

    /// Its state.
    pub fn state(&self) -> cri::ContainerState {
        self.state
    }

    /// Its [`cri::Container`], encoded.
    pub fn item(&self) -> Bytes {
        self.item.clone()
    }

    /// Its whole status, with what the kernel says where the Engine was passed by. `engine` is not asked.
    ///
    /// The kernel's files are read once: each change that is made here is followed by another inspection.
    pub async fn status(&self, engine: &Engine) -> cri::ContainerStatus {
        let mut status = status::container(&self.inspect, &self.container.record);
        let reported = status.resources.as_mut().and_then(|all| all.linux.as_mut());
        let pid = self.inspect.state.pid;
        if let Some(reported) = reported.filter(|_| pid != 0)
            && let Some(facts) = engine.last_facts()
        {
            let read = || cgroup::read(pid, live::limit_file(&facts));
            live::correct(reported, self.live.get_or_init(read).await);
        }
        status
    }

    pub(super) fn filtered(&self) -> Item<'_> {
        Item {
            id: &self.container.id,
            sandbox_id: &self.container.sandbox_id,
            state: self.state.into(),
            labels: &self.container.record.config.labels,
        }
    }
}

/// The labels are in the record, which is kept once for all views.
fn trim(inspect: &mut ContainerInspect) {
    inspect.config.labels = Default::default();
}
