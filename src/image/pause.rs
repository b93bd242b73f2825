use tracing::info;
use translate::{
    Invalid,
    image::{ImageReference, RegistryAuth},
};

use super::{Images, credentials};
use crate::error::Result;

impl Images {
    /// The pause image's name.
    pub fn pause(&self) -> &str {
        &self.pause
    }

    /// Pulls the pause image unless it is here, with the credentials that this host has.
    pub async fn ensure_pause(&self) -> Result<()> {
        // One for all sandboxes that are waiting for it.
        let _lock = self.locks.exclusive(&self.pause).await;
        if self.engine.inspect_image(&self.pause).await?.is_some() {
            return Ok(());
        }
        let reference = ImageReference::parse(&self.pause)
            .map_err(|error| Invalid::new("--pod-infra-container-image", error.why))?;
        let auth: Option<RegistryAuth> = credentials::find(reference.domain()).await;
        info!(
            image = self.pause,
            credentials = auth.is_some(),
            "pulling the pause image"
        );
        self.fetch(&self.pause, &reference, auth.as_ref()).await.map(drop)
    }
}
