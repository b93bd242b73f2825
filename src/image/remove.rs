use tracing::info;
use translate::image;

use super::{Images, status};
use crate::error::{Error, Result};

impl Images {
    /// Removes an image with all its names. One that does not exist is fine.
    pub async fn remove(&self, spec: &Option<cri::ImageSpec>) -> Result<()> {
        let query = status::query(spec)?;
        let Some(found) = self.engine.inspect_image(&query.engine_name()).await? else {
            return Ok(());
        };
        // Five callers at once are to see the same: an image that is gone when their call returns.
        let _lock = self.locks.exclusive(&found.id).await;
        let Some(found) = self.engine.inspect_image(&found.id).await? else {
            return Ok(());
        };
        // Asked first: the Engine would take the names away before it refuses the image itself.
        let users = self.engine.containers_of_image(&found.id).await?;
        if let Some(user) = users.iter().find(|container| container.image_id == found.id) {
            return Err(Error::Precondition(format!(
                "image {} is in use by container {}",
                found.id, user.id
            )));
        }
        for name in image::removal(&found) {
            let removed = self.engine.remove_image(&name).await;
            self.store.images_changed();
            match removed {
                Err(error) if error.is_conflict() => {
                    return Err(Error::Precondition(format!(
                        "image {} is in use: {}",
                        found.id,
                        error.message()
                    )));
                }
                other => other?,
            }
        }
        self.learnt().remove(&found.id);
        self.usage.forget();
        info!(id = found.id, names = ?found.repo_tags, "image removed");
        Ok(())
    }
}
