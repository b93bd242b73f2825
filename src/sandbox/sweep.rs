use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};

use super::Sandboxes;
use crate::error::Result;

/// The time that tidying up one lost pod's network may take.
const EACH: Duration = Duration::from_secs(30);

impl Sandboxes {
    /// Takes down the networks of sandboxes that are gone: removed by hand, or by a restart of the node,
    /// while dockside was away.
    pub async fn sweep(&self) -> Result<()> {
        // In this order: a sandbox that is made meanwhile is in the list before its network is connected.
        let connected = self.network.connected().await?;
        let alive: HashSet<String> = self
            .store
            .ask_sandboxes(&cri::PodSandboxFilter::default())
            .await?
            .into_iter()
            .map(|s| s.id)
            .collect();
        let lost: HashSet<String> = connected.into_iter().filter(|id| !alive.contains(id)).collect();
        for id in &lost {
            let _lock = self.locks.exclusive(id).await;
            match self.network.disconnect(id, None, Instant::now() + EACH).await {
                Ok(()) => info!(id, "took down the network of a sandbox that is gone"),
                Err(error) => warn!(
                    id,
                    "cannot take down the network of a sandbox that is gone: {error}"
                ),
            }
        }
        self.network.collect(Instant::now() + EACH).await
    }
}
