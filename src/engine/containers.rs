//! Containers, pause containers included.

use std::{collections::BTreeMap, time::Duration};

use bollard::{
    models::{ContainerCreateBody, ContainerUpdateBody},
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use translate::answer::{ContainerEntry, ContainerInspect};

use super::{Engine, EngineError, raw};

/// What a created container is called, and what the Engine could not do for it.
pub struct Created {
    /// The full id.
    pub id: String,
    /// Settings that the Engine dropped because its host cannot do them.
    pub warnings: Vec<String>,
}

/// Room beyond a stop's grace period for the Engine to kill and to answer.
const STOP_MARGIN: Duration = Duration::from_secs(60);

impl Engine {
    /// All containers, running or not, that have every one of `labels` (`key` or `key=value`), and an
    /// id or id prefix of `id` if that is given.
    pub async fn list_containers(
        &self,
        labels: &[String],
        id: Option<&str>,
    ) -> Result<Vec<ContainerEntry>, EngineError> {
        let mut filters = BTreeMap::from([("label", labels.to_vec())]);
        if let Some(id) = id {
            filters.insert("id", vec![id.to_owned()]);
        }
        let path = format!("/containers/json?all=1&filters={}", raw::filters(&filters));
        self.get(&path, "list containers").await
    }

    /// The containers, running or not, that were made from an image or from one that is built on it.
    pub async fn containers_of_image(&self, id: &str) -> Result<Vec<ContainerEntry>, EngineError> {
        let filters = BTreeMap::from([("ancestor", vec![id])]);
        let path = format!("/containers/json?all=1&filters={}", raw::filters(&filters));
        self.get(&path, &format!("list containers of image {id}")).await
    }

    /// One container, by id, id prefix or name.
    pub async fn inspect_container(&self, id: &str) -> Result<ContainerInspect, EngineError> {
        self.get(
            &format!("/containers/{}/json", raw::encode(id)),
            &format!("inspect container {id}"),
        )
        .await
    }

    /// Creates a container called `name`.
    pub async fn create_container(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<Created, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let create = self.docker.create_container(Some(options), body);
        let created = self
            .ask(&format!("create container {name}"), self.timeout, create)
            .await?;
        Ok(Created {
            id: created.id,
            warnings: created.warnings,
        })
    }

    /// Creates a container that is only to be looked into; `body` says what it is made from.
    pub async fn create_unnamed(&self, body: ContainerCreateBody) -> Result<String, EngineError> {
        let create = self.docker.create_container(None, body);
        let created = self
            .ask("create a container to look into", self.timeout, create)
            .await?;
        Ok(created.id)
    }

    /// Starts a container; one that runs already is fine.
    pub async fn start_container(&self, id: &str) -> Result<(), EngineError> {
        let start = self.docker.start_container(id, None);
        self.ask(&format!("start container {id}"), self.timeout, start)
            .await
    }

    /// Stops a container by its stop signal, and kills it after `grace`; one that does not run is fine.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        // The Engine takes a negative number as "wait for ever", so none may come from an overflow.
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let (stop, after) = (
            self.docker.stop_container(id, Some(options)),
            grace.saturating_add(STOP_MARGIN),
        );
        self.ask(&format!("stop container {id}"), after, stop).await
    }

    /// Removes a container, running or not, with the volumes that were made for it alone; one that does
    /// not exist is fine.
    pub async fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let remove = self.docker.remove_container(id, Some(options));
        match self
            .ask(&format!("remove container {id}"), self.timeout, remove)
            .await
        {
            Err(gone) if gone.is_not_found() => Ok(()),
            removed => removed,
        }
    }

    /// Changes a container's limits.
    pub async fn update_container(&self, id: &str, body: ContainerUpdateBody) -> Result<(), EngineError> {
        let update = self.docker.update_container(id, body);
        self.ask(&format!("update container {id}"), self.timeout, update)
            .await
    }
}
