use std::time::Duration;

use tracing::info;
use translate::Invalid;

use super::Containers;
use crate::error::Result;

impl Containers {
    /// Stops a container by its stop signal and kills it after `timeout` seconds. One that does not run,
    /// or does not exist, is fine.
    pub async fn stop(&self, id: &str, timeout: i64) -> Result<()> {
        let seconds =
            u64::try_from(timeout).map_err(|_| Invalid::new("timeout", format!("{timeout} is negative")))?;
        let container = match self.store.container(id).await {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let stopped = self
            .engine
            .stop_container(&container.id, Duration::from_secs(seconds))
            .await;
        self.store.changed(&container.id);
        match stopped {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        }
        info!(id = container.id, "container stopped");
        Ok(())
    }
}
