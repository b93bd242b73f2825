use std::io;

use bollard::models::ContainerUpdateBody;
use tracing::{info, warn};
use translate::resources;

use super::Containers;
use crate::error::{Error, Result};

impl Containers {
    /// Changes a container's limits, running or not.
    pub async fn update(&self, request: cri::UpdateContainerResourcesRequest) -> Result<()> {
        // What it has now decides what is left unsaid: swap follows memory.
        let (container, inspect) = self.store.inspect_container(&request.container_id).await?;
        let id = &container.id;
        let host = self.node.view().await;
        let update = resources::update(
            request.linux.as_ref(),
            &inspect.host_config,
            &*self.engine.facts().await?,
            &host,
        )?;
        for caveat in &update.caveats {
            warn!(id, "{caveat}");
        }
        let _changing = self.store.changing(id);
        let mut held = self.keeper.hold(id, inspect.state.pid).await;
        if update.body != ContainerUpdateBody::default() {
            let released = held.release(update.superseded);
            if let Err(error) = self.engine.update_container(id, update.body).await {
                held.take_back(released);
                held.restore().await;
                return Err(error.into());
            }
        }
        // The Engine has all it knows set again, which undoes what was written before.
        let failures = held.apply(&update.after).await;
        if !failures.is_empty() {
            let action = format!("set the limits of container {id} that go beyond the engine API");
            return Err(Error::host(action)(io::Error::other(failures.join("; "))));
        }
        if let Some(asked) = &request.linux {
            let mut record = container.record.clone();
            let linux = record.config.linux.get_or_insert_default();
            resources::note(linux.resources.get_or_insert_default(), asked);
            self.store.add_container(id, &container.sandbox_id, record);
        }
        info!(id, "container's limits changed");
        Ok(())
    }
}
