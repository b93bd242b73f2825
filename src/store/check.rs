//! The safety net: what is remembered is compared with a whole list now and then. It must never differ.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use tokio::time::sleep;
use tracing::{debug, warn};
use translate::labels;

use super::{
    Store,
    index::{Index, Key},
};
use crate::engine::EngineError;

/// How long an event may take. What differs still, and was named by none, was missed.
const GRACE: Duration = Duration::from_secs(10);

impl Store {
    /// Compares everything. What differs is counted, told of and looked at.
    pub(super) async fn check(&self, index: &Index) -> Result<(), EngineError> {
        let generation = index.generation();
        let containers = self.engine.list_containers(&[labels::TYPE.into()], None).await?;
        let images = self.engine.list_images().await?;
        let mut suspects = index.suspects(generation, &containers);
        suspects.extend(index.suspect_images(generation, &images));
        debug!(
            containers = containers.len(),
            images = images.len(),
            suspects = suspects.len(),
            "compared with the engine"
        );
        if suspects.is_empty() {
            return Ok(());
        }
        sleep(GRACE).await;
        // One that was removed between the list and the comparison is not remembered for a good reason.
        let listed = self.engine.list_containers(&[labels::TYPE.into()], None).await?;
        let listed: HashSet<_> = listed.into_iter().map(|entry| Key::Object(entry.id)).collect();
        for (key, remembered) in suspects {
            if remembered.is_none() && !listed.contains(&key) {
                continue;
            }
            if index.remembers(&key) == Some(remembered) {
                warn!(object = ?key, "an event of the engine was missed: please report this");
                index.differences.fetch_add(1, Ordering::Relaxed);
                index.mark(key);
            }
        }
        Ok(())
    }
}
