use tokio::time::Instant;
use tracing::info;

use super::Sandboxes;
use crate::{container::remove::take_away, error::Result};

impl Sandboxes {
    /// Removes a sandbox with everything in it, running or not. One that does not exist is fine.
    pub async fn remove(&self, id: &str, deadline: Instant) -> Result<()> {
        let sandbox = match self.store.sandbox(id).await {
            Err(error) if error.is_not_found() => return self.disconnect_lost(id, deadline).await,
            other => other?,
        };
        let id = &sandbox.id;
        let _lock = self.locks.exclusive(id).await;
        self.each_member(id, None, |member| async move {
            take_away(&self.engine, &self.store, &self.logs, &member).await
        })
        .await?;
        self.take_down(id, deadline).await?;
        info!(id, "sandbox removed");
        Ok(())
    }
}
