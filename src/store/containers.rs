use std::{collections::BTreeMap, sync::Arc};

use translate::{
    ContainerId,
    answer::{ContainerEntry, ContainerInspect},
    filter,
    labels::{self, ContainerRecord},
    status,
};

use super::{Container, Store};
use crate::error::{Error, Result};

impl Store {
    /// The containers that `wanted` lets pass.
    pub async fn list_containers(&self, wanted: &cri::ContainerFilter) -> Result<Vec<cri::Container>> {
        let mut only = vec![format!("{}={}", labels::TYPE, labels::TYPE_CONTAINER)];
        // The Engine compares labels whole, so it can help with whole ids only.
        if ContainerId::parse(&wanted.pod_sandbox_id).is_some_and(|id| id.is_whole()) {
            only.push(format!("{}={}", labels::SANDBOX_ID, wanted.pod_sandbox_id));
        }
        let id = (!wanted.id.is_empty()).then_some(wanted.id.as_str());
        let entries = self.engine.list_containers(&only, id).await?;
        let items: Vec<_> = entries
            .iter()
            .filter_map(|entry| Some((entry, self.container_of(entry)?)))
            .map(|(entry, container)| {
                let cannot_run = entry.state == "created" && self.known().cannot_run.contains(&entry.id);
                status::container_item(entry, &container.sandbox_id, &container.record, cannot_run)
            })
            .filter(|item| filter::container(item, wanted))
            .collect();
        if id.is_none() && only.len() == 1 {
            let alive = |id: &String| entries.iter().any(|entry| entry.id == *id);
            let mut known = self.known();
            known.containers.retain(|id, _| alive(id));
            known.cannot_run.retain(alive);
        }
        Ok(items)
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
        let inspect = match self.engine.inspect_container(id.as_str()).await {
            Err(error) if error.is_not_found() => return Err(Error::no_container(id.as_str())),
            other => other?,
        };
        let container = self
            .learn_container(&inspect.id, &inspect.name, &inspect.config.labels)
            .ok_or_else(|| Error::no_container(id.as_str()))?;
        if status::cannot_run(&inspect) {
            self.known().cannot_run.insert(inspect.id.clone());
        }
        Ok((container, inspect))
    }

    /// Notes a container that was just created.
    pub fn add_container(&self, id: &str, sandbox_id: &str, record: ContainerRecord) -> Arc<Container> {
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

    /// Forgets a container that was removed.
    pub fn remove_container(&self, id: &str) {
        let mut known = self.known();
        known.containers.remove(id);
        known.cannot_run.remove(id);
    }

    fn container_of(&self, entry: &ContainerEntry) -> Option<Arc<Container>> {
        self.learn_container(
            &entry.id,
            entry.names.first().map_or("", String::as_str),
            &entry.labels,
        )
    }

    fn learn_container(
        &self,
        id: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<Arc<Container>> {
        if let Some(container) = self.known().containers.get(id) {
            return Some(Arc::clone(container));
        }
        let (sandbox_id, record) = labels::read_container(name, labels)?;
        Some(self.add_container(id, &sandbox_id, record))
    }
}
