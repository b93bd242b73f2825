use translate::image;

use super::Images;
use crate::error::Result;

impl Images {
    /// The images that `filter` selects.
    pub async fn list(&self, filter: Option<&cri::ImageFilter>) -> Result<Vec<cri::Image>> {
        let query = image::filter(filter)?;
        let entries = self.engine.list_images().await?;
        let mut images = Vec::with_capacity(entries.len());
        for entry in &entries {
            let known = self.learnt().get(&entry.id).map(|learnt| learnt.user.clone());
            let user = match known {
                Some(user) => user,
                // Once for each image: a list does not tell its user.
                None => match self.engine.inspect_image(&entry.id).await? {
                    Some(inspect) => self.learn(&inspect).user,
                    // Removed in between.
                    None => continue,
                },
            };
            images.push(image::image_from_entry(entry, Some(&user), &self.pinned()));
        }
        self.learnt()
            .retain(|id, _| entries.iter().any(|entry| entry.id == *id));
        if let Some(query) = query {
            images.retain(|item| image::matches(item, &query));
        }
        Ok(images)
    }
}
