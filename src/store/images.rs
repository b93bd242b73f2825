use std::{collections::HashSet, sync::Arc};

use tracing::warn;
use translate::image;

use super::{Scope, Store, index::Key};
use crate::error::Result;

impl Store {
    /// The images as they are known, and a number that changes with them; `None` where the Engine is to be asked.
    pub async fn images(&self) -> Option<(u64, Arc<Vec<cri::Image>>)> {
        self.memory(Scope::Images).await?.images()
    }

    /// Images were changed by a call of ours.
    pub fn images_changed(&self) {
        if let Some(index) = &self.index {
            index.mark(Key::Images);
        }
    }

    /// The `USER` of an image that is remembered.
    pub fn image_user(&self, id: &str) -> Option<String> {
        self.known().image_users.get(id).cloned()
    }

    /// Asks for all images. A list does not tell their users, which never change for an id: each is inspected once.
    pub async fn look_at_images(&self) -> Result<Vec<cri::Image>> {
        let entries = self.engine.list_images().await?;
        let pinned = self.live.get().pinned_images();
        let mut images = Vec::with_capacity(entries.len());
        for entry in &entries {
            if let Some(user) = self.user_of(&entry.id).await? {
                images.push(image::image_from_entry(entry, Some(&user), &pinned));
            }
        }
        let there: HashSet<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        self.known()
            .image_users
            .retain(|id, _| there.contains(id.as_str()));
        Ok(images)
    }

    /// The `USER` of an image; `None` if that was removed, or is damaged: such a one must not hide the others.
    async fn user_of(&self, id: &str) -> Result<Option<String>> {
        if let Some(user) = self.image_user(id) {
            return Ok(Some(user));
        }
        let user = match self.engine.inspect_image(id).await {
            Ok(inspect) => inspect.map(|inspect| inspect.config.user),
            Err(error) if error.status().is_some() => {
                warn!(id, "an image is left out of the list: {error}");
                None
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(user) = &user {
            self.known().image_users.insert(id.to_owned(), user.clone());
        }
        Ok(user)
    }
}
