use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cri::encoded::{List, encoded};
use translate::{
    ContainerId,
    answer::{ContainerEntry, ContainerInspect},
    filter,
    labels::{self, SandboxRecord},
    status,
};

use super::{ContainerView, Found, Sandbox, SandboxView, Scope, Store, inspect};
use crate::error::{Error, Result};

impl Store {
    /// The sandboxes that `wanted` lets pass, as a whole answer.
    pub async fn list_sandboxes(&self, wanted: &cri::PodSandboxFilter) -> Result<List> {
        if *wanted == cri::PodSandboxFilter::default()
            && let Some(memory) = self.memory(Scope::All).await
        {
            return Ok(memory.sandbox_list());
        }
        Ok(List::of(&self.sandbox_items(wanted).await?))
    }

    /// The sandboxes that `wanted` lets pass, each an encoded [`cri::PodSandbox`].
    pub async fn sandbox_items(&self, wanted: &cri::PodSandboxFilter) -> Result<Vec<Bytes>> {
        if let Some(memory) = self.memory(Scope::All).await {
            return Ok(memory.sandboxes(wanted, |view| view.item()));
        }
        let items = self.ask_sandboxes(wanted).await?;
        Ok(items.iter().map(encoded).collect())
    }

    /// The sandboxes that `wanted` lets pass, with what was inspected of them last.
    pub async fn sandboxes(&self, wanted: &cri::PodSandboxFilter) -> Result<Vec<Arc<SandboxView>>> {
        if let Some(memory) = self.last_seen().await {
            return Ok(memory.sandboxes(wanted, Arc::clone));
        }
        let items = self.ask_sandboxes(wanted).await?;
        let ask = |item: cri::PodSandbox| async move { self.ask_sandbox(&item.id).await };
        inspect::all(items.into_iter().map(ask)).await
    }

    /// One sandbox, by its id or the beginning of it, with its containers where these are remembered.
    pub async fn pod(&self, id: &str) -> Result<(Arc<SandboxView>, Option<Vec<Arc<ContainerView>>>)> {
        if let Some(memory) = self.memory(Scope::Pod(id)).await {
            match memory.pod(id) {
                (Found::Known(view), members) => return Ok((view, Some(members))),
                (Found::Gone, _) => return Err(Error::no_sandbox(id)),
                (Found::Unknown, _) => {}
            }
        }
        let view = self.ask_sandbox(id).await?;
        // The Engine knows one that the memory does not have yet.
        self.changed(&view.sandbox.id);
        Ok((view, None))
    }

    async fn ask_sandbox(&self, id: &str) -> Result<Arc<SandboxView>> {
        let (sandbox, inspect) = self.inspect_sandbox(id).await?;
        Ok(Arc::new(SandboxView::new(sandbox, inspect)))
    }

    /// The sandboxes that `wanted` lets pass, asked of the Engine: for what acts upon them.
    pub async fn ask_sandboxes(&self, wanted: &cri::PodSandboxFilter) -> Result<Vec<cri::PodSandbox>> {
        let only = [format!("{}={}", labels::TYPE, labels::TYPE_SANDBOX)];
        let id = (!wanted.id.is_empty()).then_some(wanted.id.as_str());
        if id.is_some_and(|id| ContainerId::parse(id).is_none()) {
            // The Engine need not be bothered with what is no id.
            return Ok(Vec::new());
        }
        let entries = self.engine.list_containers(&only, id).await?;
        let items: Vec<_> = entries
            .iter()
            .filter_map(|entry| Some((entry, self.sandbox_of(entry)?)))
            .map(|(entry, sandbox)| status::sandbox_item(entry, &sandbox.record))
            .filter(|item| filter::sandbox(item, wanted))
            .collect();
        if id.is_none() {
            let alive = |id: &String| entries.iter().any(|entry| entry.id == *id);
            self.known().sandboxes.retain(|id, _| alive(id));
        }
        Ok(items)
    }

    /// The lasting part of a sandbox.
    pub async fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        if let Some(sandbox) = self.known().sandboxes.get(id) {
            return Ok(Arc::clone(sandbox));
        }
        self.inspect_sandbox(id).await.map(|(sandbox, _)| sandbox)
    }

    /// A sandbox as the Engine has it now.
    pub async fn inspect_sandbox(&self, id: &str) -> Result<(Arc<Sandbox>, ContainerInspect)> {
        let id = ContainerId::parse(id).ok_or_else(|| Error::no_sandbox(id))?;
        let inspect = match self.engine.inspect_container(id.as_str()).await {
            Err(error) if error.is_not_found() => return Err(Error::no_sandbox(id.as_str())),
            other => other?,
        };
        let sandbox = self
            .learn_inspected(&inspect)
            .ok_or_else(|| Error::no_sandbox(id.as_str()))?;
        Ok((sandbox, inspect))
    }

    /// Notes a sandbox that was just created.
    pub fn add_sandbox(&self, id: &str, record: SandboxRecord, host_network: bool) {
        self.note_sandbox(id, record, host_network);
        self.changed(id);
    }

    fn note_sandbox(&self, id: &str, record: SandboxRecord, host_network: bool) -> Arc<Sandbox> {
        let sandbox = Arc::new(Sandbox {
            id: id.into(),
            record,
            host_network,
        });
        self.known().sandboxes.insert(id.into(), Arc::clone(&sandbox));
        sandbox
    }

    fn sandbox_of(&self, entry: &ContainerEntry) -> Option<Arc<Sandbox>> {
        self.learn_sandbox(
            &entry.id,
            entry.names.first().map_or("", String::as_str),
            &entry.labels,
            &entry.host_config.network_mode,
        )
    }

    pub(super) fn learn_inspected(&self, inspect: &ContainerInspect) -> Option<Arc<Sandbox>> {
        self.learn_sandbox(
            &inspect.id,
            &inspect.name,
            &inspect.config.labels,
            &inspect.host_config.network_mode,
        )
    }

    fn learn_sandbox(
        &self,
        id: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
        network_mode: &str,
    ) -> Option<Arc<Sandbox>> {
        if let Some(sandbox) = self.known().sandboxes.get(id) {
            return Some(Arc::clone(sandbox));
        }
        let record = labels::read_sandbox(name, labels)?;
        Some(self.note_sandbox(id, record, network_mode == "host"))
    }
}
