use tracing::{info, warn};

use super::Sandboxes;
use crate::{error::Result, store::Sandbox};

impl Sandboxes {
    /// Takes over the networks of running sandboxes that cri-dockerd has made: their namespaces are pinned like those of
    /// our own, so that they can be taken down whatever becomes of the pause process.
    pub async fn adopt(&self) -> Result<()> {
        let ready = cri::PodSandboxFilter {
            state: Some(cri::PodSandboxStateValue {
                state: cri::PodSandboxState::SandboxReady.into(),
            }),
            ..Default::default()
        };
        for entry in self.store.ask_sandboxes(&ready).await? {
            let sandbox = match self.store.sandbox(&entry.id).await {
                // Removed in between.
                Err(error) if error.is_not_found() => continue,
                other => other?,
            };
            if !foreign(&sandbox) {
                continue;
            }
            let _lock = self.locks.exclusive(&sandbox.id).await;
            match self.adopt_network(&sandbox).await {
                Ok(true) => info!(id = sandbox.id, "adopted a sandbox of another runtime"),
                Ok(false) => {}
                Err(error) => warn!(
                    id = sandbox.id,
                    "cannot adopt the network of a sandbox of another runtime: {error}"
                ),
            }
        }
        Ok(())
    }

    /// Pins the namespace of a sandbox that another runtime has made, if it is in a network and runs. Returns whether it
    /// was not pinned before.
    pub(super) async fn adopt_network(&self, sandbox: &Sandbox) -> Result<bool> {
        if !foreign(sandbox) {
            return Ok(false);
        }
        match self.store.inspect_sandbox(&sandbox.id).await {
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
            Ok((_, inspect)) => self.network.adopt(&sandbox.id, inspect.state.pid).await,
        }
    }
}

/// Only our own records know when they were made.
fn foreign(sandbox: &Sandbox) -> bool {
    sandbox.record.created_at == 0
}
