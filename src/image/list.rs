use translate::image;

use super::Images;
use crate::error::Result;

impl Images {
    /// The images that `filter` selects.
    pub async fn list(&self, filter: Option<&cri::ImageFilter>) -> Result<Vec<cri::Image>> {
        let query = image::filter(filter)?;
        if let Some((_, images)) = self.store.images().await {
            let wanted = |item: &&cri::Image| query.as_ref().is_none_or(|query| image::matches(item, query));
            return Ok(images.iter().filter(wanted).cloned().collect());
        }
        let mut images = self.store.look_at_images().await?;
        if let Some(query) = query {
            images.retain(|item| image::matches(item, &query));
        }
        Ok(images)
    }
}
