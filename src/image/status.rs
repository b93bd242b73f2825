use translate::{Invalid, answer::ImageInspect, image, image::ImageQuery, required};

use super::Images;
use crate::error::Result;

impl Images {
    /// One image; an answer without one if there is none.
    pub async fn status(&self, request: &cri::ImageStatusRequest) -> Result<cri::ImageStatusResponse> {
        let query = query(&request.image)?;
        if !request.verbose
            && let Some((_, images)) = self.store.images().await
            && let Some(image) = image::find(images.iter(), &query)
        {
            return Ok(cri::ImageStatusResponse {
                image: Some(image.clone()),
                ..Default::default()
            });
        }
        // One that is not remembered may be one that no list shows.
        let Some(inspect) = self.engine.inspect_image(&query.engine_name()).await? else {
            return Ok(cri::ImageStatusResponse::default());
        };
        self.learn(&inspect);
        let info = if request.verbose {
            image::verbose_info(&inspect)
        } else {
            Default::default()
        };
        Ok(cri::ImageStatusResponse {
            image: Some(self.as_listed(&inspect).await?),
            info,
        })
    }

    /// An image that was inspected, as the list has it. With containerd's store the Engine's list counts what is unpacked
    /// too, which an inspection does not.
    async fn as_listed(&self, inspect: &ImageInspect) -> Result<cri::Image> {
        let pinned = self.live.get().pinned_images();
        if self.engine.facts().await?.containerd_store {
            let listed = self.engine.list_images().await?;
            if let Some(entry) = listed.iter().find(|entry| entry.id == inspect.id) {
                return Ok(image::image_from_entry(
                    entry,
                    Some(&inspect.config.user),
                    &pinned,
                ));
            }
        }
        Ok(image::image_from_inspect(inspect, &pinned))
    }
}

/// What a request's image means.
pub(super) fn query(spec: &Option<cri::ImageSpec>) -> std::result::Result<ImageQuery, Invalid> {
    let spec = required(spec, "image")?;
    if spec.image.is_empty() {
        return Err(Invalid::new("image.image", "is missing"));
    }
    ImageQuery::parse(&spec.image)
}
