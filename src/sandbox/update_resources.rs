use tracing::debug;

use super::Sandboxes;
use crate::error::Result;

impl Sandboxes {
    /// Hears that the kubelet changes a pod's cgroup, which is the kubelet's own: there is nothing to do
    /// here, but any other answer than success would make it take the change back.
    pub async fn update_resources(&self, id: &str) -> Result<()> {
        let sandbox = self.store.sandbox(id).await?;
        debug!(id = sandbox.id, "the kubelet changes the limits of a pod");
        Ok(())
    }
}
