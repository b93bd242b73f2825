use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use super::Containers;
use crate::{engine::Engine, error::Result, logs::Logs, store::Store};

/// How long a removal that somebody else began is waited for.
const OTHER: Duration = Duration::from_secs(30);

impl Containers {
    /// Removes a container, running or not. One that does not exist is fine. Its log is the kubelet's.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let container = match self.store.container(id).await {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let id = &container.id;
        take_away(&self.engine, &self.store, &self.logs, id).await?;
        info!(id, "container removed");
        Ok(())
    }
}

/// Removes a container or a pause container from the Engine, and then from what is known: one that could not be
/// removed is listed still.
pub(crate) async fn take_away(engine: &Engine, store: &Store, logs: &Logs, id: &str) -> Result<()> {
    store.catch_up_log(id).await?;
    let give_up = Instant::now() + OTHER;
    loop {
        match engine.remove_container(id).await {
            // "Removal is in progress": done when it is gone.
            Err(error) if error.is_conflict() && Instant::now() < give_up => {
                sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                store.changed(id);
                return Err(error.into());
            }
            Ok(()) => break,
        }
    }
    // What a container that ran still had to say is read from the file that was kept open.
    logs.forget(id).await;
    store.remove(id);
    Ok(())
}
