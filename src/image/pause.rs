use tracing::info;
use translate::{
    Invalid,
    image::{ImageReference, RegistryAuth},
};

use super::{Images, credentials};
use crate::error::Result;

impl Images {
    /// The pause image's name.
    pub fn pause(&self) -> String {
        self.live.get().pod_infra_container_image.clone()
    }

    /// Pulls the pause image unless it is here, with the credentials that this host has.
    pub async fn ensure_pause(&self) -> Result<()> {
        // One for all sandboxes that are waiting for it.
        let pause = self.pause();
        let _lock = self.locks.exclusive(&pause).await;
        if self.engine.inspect_image(&pause).await?.is_some() {
            return Ok(());
        }
        let reference = ImageReference::parse(&pause)
            .map_err(|error| Invalid::new("--pod-infra-container-image", error.why))?;
        let auth: Option<RegistryAuth> = credentials::find(reference.domain()).await;
        info!(
            image = pause,
            credentials = auth.is_some(),
            "pulling the pause image"
        );
        self.fetch(&pause, &reference, auth.as_ref()).await.map(drop)
    }
}
