use std::{collections::HashMap, sync::Arc};

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
        let mut users = HashMap::with_capacity(entries.len());
        for entry in &entries {
            let user = match self.image_user(&entry.id) {
                Some(user) => user,
                None => match self.engine.inspect_image(&entry.id).await? {
                    Some(inspect) => inspect.config.user,
                    // Removed in between.
                    None => continue,
                },
            };
            images.push(image::image_from_entry(entry, Some(&user), &pinned));
            users.insert(entry.id.clone(), user);
        }
        self.known().image_users = users;
        Ok(images)
    }
}
