use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use cri::encoded::{List, encoded};
use tracing::debug;
use translate::{
    ContainerId,
    answer::{ContainerEntry, ContainerInspect},
    filter,
    labels::{self, ContainerRecord},
    status,
};

use super::{Container, ContainerView, Found, Scope, Store, inspect};
use crate::error::{Error, Result};

impl Store {
    /// The containers that `wanted` lets pass, as a whole answer.
    pub async fn list_containers(&self, wanted: &cri::ContainerFilter) -> Result<List> {
        if *wanted == cri::ContainerFilter::default()
            && let Some(memory) = self.memory(Scope::All).await
        {
            return Ok(memory.container_list());
        }
        Ok(List::of(&self.container_items(wanted).await?))
    }

    /// The containers that `wanted` lets pass, each an encoded [`cri::Container`].
    pub async fn container_items(&self, wanted: &cri::ContainerFilter) -> Result<Vec<Bytes>> {
        if let Some(memory) = self.memory(Scope::All).await {
            return Ok(memory.containers(wanted, |view| view.item()));
        }
        let items = self.ask_containers(wanted).await?;
        Ok(items.iter().map(encoded).collect())
    }

    /// The containers that `wanted` lets pass, with what was inspected of them last.
    pub async fn containers(&self, wanted: &cri::ContainerFilter) -> Result<Vec<Arc<ContainerView>>> {
        if let Some(memory) = self.last_seen().await {
            return Ok(memory.containers(wanted, Arc::clone));
        }
        let items = self.ask_containers(wanted).await?;
        let ask = |item: cri::Container| async move { self.ask_container(&item.id).await };
        inspect::all(items.into_iter().map(ask)).await
    }

    /// One container, by its id or the beginning of it.
    pub async fn container_view(&self, id: &str) -> Result<Arc<ContainerView>> {
        if let Some(memory) = self.memory(Scope::One(id)).await {
            match memory.container(id) {
                Found::Known(view) => return Ok(view),
                Found::Gone => return Err(Error::no_container(id)),
                Found::Unknown => {}
            }
        }
        let view = self.ask_container(id).await?;
        // The Engine knows one that the memory does not have yet.
        self.changed(&view.container.id);
        Ok(view)
    }

    async fn ask_container(&self, id: &str) -> Result<Arc<ContainerView>> {
        let (container, inspect) = self.inspect_container(id).await?;
        Ok(Arc::new(ContainerView::new(container, inspect)))
    }

    /// The containers that `wanted` lets pass, asked of the Engine: for what acts upon them.
    pub async fn ask_containers(&self, wanted: &cri::ContainerFilter) -> Result<Vec<cri::Container>> {
        let mut only = vec![format!("{}={}", labels::TYPE, labels::TYPE_CONTAINER)];
        // The Engine compares labels whole, so it can help with whole ids only.
        if ContainerId::parse(&wanted.pod_sandbox_id).is_some_and(|id| id.is_whole()) {
            only.push(format!("{}={}", labels::SANDBOX_ID, wanted.pod_sandbox_id));
        }
        let id = (!wanted.id.is_empty()).then_some(wanted.id.as_str());
        if id.is_some_and(|id| ContainerId::parse(id).is_none()) {
            // The Engine need not be bothered with what is no id.
            return Ok(Vec::new());
        }
        let asked = Instant::now();
        let entries = self.engine.list_containers(&only, id).await?;
        // One that an earlier daemon has created may have failed to start since. Asked once for each.
        let unknown = |entry: &&ContainerEntry| {
            entry.state == "created" && !self.known().containers.contains_key(&entry.id)
        };
        let unknown: Vec<_> = entries
            .iter()
            .filter(unknown)
            .map(|entry| entry.id.clone())
            .collect();
        let ask = |id: String| async move { self.inspect_container(&id).await };
        inspect::all(unknown.into_iter().map(ask)).await?;
        let mut items = Vec::with_capacity(entries.len());
        for entry in &entries {
            let Some(container) = self.container_of(entry) else {
                continue;
            };
            let cannot_run = entry.state == "created" && self.known().cannot_run.contains(&entry.id);
            let item = status::container_item(entry, &container.sandbox_id, &container.record, cannot_run);
            if filter::container(&item, wanted) {
                self.keep_log(&container, item.state()).await?;
                items.push(item);
            }
        }
        if id.is_none() && only.len() == 1 {
            let alive: HashSet<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
            let mut known = self.known();
            known.containers.retain(|id, _| alive.contains(id.as_str()));
            known.cannot_run.retain(|id| alive.contains(id.as_str()));
            drop(known);
            self.logs.retain(asked, |id| alive.contains(id));
        }
        Ok(items)
    }

    /// Follows the log of a container that is seen running, and completes that of one seen exited.
    async fn keep_log(&self, container: &Container, state: cri::ContainerState) -> Result<()> {
        let id = &container.id;
        match state {
            _ if container.record.log_path.is_empty() => {}
            cri::ContainerState::ContainerRunning if !self.logs.is_followed(id) => {
                let root = self.engine.root_dir().await?;
                self.logs.follow(id, || container.logs(&root));
            }
            cri::ContainerState::ContainerExited if !self.logs.is_complete(id) => {
                let root = self.engine.root_dir().await?;
                self.logs.complete(id, || container.logs(&root)).await;
            }
            _ => {}
        }
        Ok(())
    }

    /// Has all written that a container has said by now: its removal takes the Engine's log away.
    pub async fn catch_up_log(&self, id: &str) -> Result<()> {
        let Some(container) = self.known().containers.get(id).cloned() else {
            return Ok(());
        };
        let root = self.engine.root_dir().await?;
        self.logs.catch_up(id, || container.logs(&root)).await;
        Ok(())
    }

    /// The lasting part of a container.
    pub async fn container(&self, id: &str) -> Result<Arc<Container>> {
        if let Some(container) = self.known().containers.get(id) {
            return Ok(Arc::clone(container));
        }
        self.inspect_container(id).await.map(|(container, _)| container)
    }

    /// A container as the Engine has it now.
    pub async fn inspect_container(&self, id: &str) -> Result<(Arc<Container>, ContainerInspect)> {
        let id = ContainerId::parse(id).ok_or_else(|| Error::no_container(id))?;
        let mut inspect = match self.engine.inspect_container(id.as_str()).await {
            Err(error) if error.is_not_found() => return Err(Error::no_container(id.as_str())),
            other => other?,
        };
        let container = self
            .learn_container(&inspect.id, &inspect.name, &inspect.config.labels)
            .ok_or_else(|| Error::no_container(id.as_str()))?;
        self.note_state(&container, &mut inspect).await?;
        Ok((container, inspect))
    }

    /// Notes what an inspection tells beside the container itself, adds what it may miss, and brings the log up to it.
    pub(super) async fn note_state(
        &self,
        container: &Container,
        inspect: &mut ContainerInspect,
    ) -> Result<()> {
        if status::cannot_run(inspect) {
            self.container_cannot_run(&inspect.id);
        }
        if status::was_killed(inspect) && !inspect.state.oom_killed {
            inspect.state.oom_killed = self.killed_for_memory(&inspect.id).await;
        }
        self.keep_log(container, status::state(inspect)).await
    }

    /// Whether a container that was killed was so because memory ran out, as far as the kernel tells.
    async fn killed_for_memory(&self, id: &str) -> bool {
        let (log, of) = (Arc::clone(&self.kernel_log), id.to_owned());
        let killed = tokio::task::spawn_blocking(move || log.tells_of_kill(&of)).await;
        killed
            .map_err(io::Error::other)
            .flatten()
            .unwrap_or_else(|error| {
                debug!(id, "cannot read in the kernel's log why it was killed: {error}");
                false
            })
    }

    /// Notes a container that was just created.
    pub fn add_container(&self, id: &str, sandbox_id: &str, record: ContainerRecord) {
        self.note_container(id, sandbox_id, record);
        self.changed(id);
    }

    fn note_container(&self, id: &str, sandbox_id: &str, record: ContainerRecord) -> Arc<Container> {
        let container = Arc::new(Container {
            id: id.into(),
            sandbox_id: sandbox_id.into(),
            record,
        });
        self.known().containers.insert(id.into(), Arc::clone(&container));
        container
    }

    /// Notes that the Engine could not start a container.
    pub fn container_cannot_run(&self, id: &str) {
        self.known().cannot_run.insert(id.into());
    }

    /// Forgets a container or sandbox that was removed.
    pub fn remove(&self, id: &str) {
        self.forget_known(id);
        if let Some(index) = &self.index {
            index.bury(id);
        }
    }

    fn container_of(&self, entry: &ContainerEntry) -> Option<Arc<Container>> {
        self.learn_container(
            &entry.id,
            entry.names.first().map_or("", String::as_str),
            &entry.labels,
        )
    }

    pub(super) fn learn_container(
        &self,
        id: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<Arc<Container>> {
        if let Some(container) = self.known().containers.get(id) {
            return Some(Arc::clone(container));
        }
        let (sandbox_id, record) = labels::read_container(name, labels)?;
        Some(self.note_container(id, &sandbox_id, record))
    }
}
