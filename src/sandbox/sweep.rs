use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Sandboxes;
use crate::{error::Result, network::Evidence};

/// The time that tidying up one lost pod's network may take.
const EACH: Duration = Duration::from_secs(30);

/// How long others may take for what they have begun.
const GRACE: Duration = Duration::from_secs(10);

impl Sandboxes {
    /// Takes down the networks of sandboxes that are gone: removed by hand, or by a restart of the node. Nobody
    /// else asks for that, since the kubelet stops only what it finds.
    pub async fn sweep(&self, evidence: Evidence) -> Result<()> {
        // In this order: a sandbox that is made meanwhile is in the list before its network is connected.
        let abandoned = self.network.abandoned(evidence).await?;
        if abandoned.is_empty() {
            return Ok(());
        }
        let listed: HashSet<String> = self
            .store
            .ask_sandboxes(&cri::PodSandboxFilter::default())
            .await?
            .into_iter()
            .map(|s| s.id)
            .collect();
        let mut lost: BTreeSet<String> = abandoned.into_iter().filter(|id| !listed.contains(id)).collect();
        if !lost.is_empty() && evidence == Evidence::RecordsAndPins {
            // Another dockside of the same Engine may be taking them down.
            sleep(GRACE).await;
            let still = self.network.abandoned(evidence).await?;
            lost.retain(|id| still.contains(id));
        }
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
        Ok(())
    }

    /// Lets the network forget what belongs to no sandbox.
    pub async fn collect(&self) -> Result<()> {
        self.network.collect(Instant::now() + EACH).await
    }
}
