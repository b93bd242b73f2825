//! Images.

mod credentials;
mod fs;
mod list;
mod pause;
mod pull;
mod remove;
mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use translate::{
    Invalid,
    answer::ImageInspect,
    image::{self, ImageQuery},
};

use crate::{engine::Engine, locks::Locks, store::Store};

pub use fs::FsUsage;

/// What the calls about images share.
pub struct Images {
    engine: Engine,
    store: Arc<Store>,
    /// The pause image's name.
    pause: String,
    /// The images that the kubelet must not remove.
    pinned: Vec<ImageQuery>,
    /// A pull without progress for this long is given up; zero waits for ever.
    stall: Duration,
    /// What was learnt of images by their id: an inspection tells it, a list or a container does not.
    learnt: Mutex<HashMap<String, Learnt>>,
    /// Removals of one image wait for each other, and so do pulls of the pause image.
    locks: Locks,
    usage: fs::Usage,
}

#[derive(Clone, Default)]
struct Learnt {
    /// `USER`: never changes for an id.
    user: String,
    /// A digest reference the image was known by.
    digest_reference: String,
}

/// The images that the kubelet must not remove: that for sandboxes.
pub fn pinned(pause: &str) -> Result<Vec<ImageQuery>, Invalid> {
    image::pinned_images([pause])
}

impl Images {
    /// Images of `engine`, as `store` knows them; `pause` is the one for sandboxes.
    pub fn new(engine: Engine, store: Arc<Store>, pause: String, stall: Duration) -> Result<Self, Invalid> {
        Ok(Self {
            pinned: pinned(&pause)?,
            engine,
            store,
            pause,
            stall,
            learnt: Mutex::default(),
            locks: Locks::default(),
            usage: fs::Usage::default(),
        })
    }

    /// The digest reference of the image that `name` means, its id if it has none, and nothing if there
    /// is no such image.
    ///
    /// Asks the Engine only for an image that it was not asked about before: the kubelet names images
    /// by id, and asks for each one's status before it creates a container of it.
    pub async fn digest_reference(&self, name: &str) -> Result<String, crate::error::Error> {
        if let Some(learnt) = self.learnt().get(name) {
            return Ok(learnt.digest_reference.clone());
        }
        let Ok(query) = ImageQuery::parse(name) else {
            return Ok(String::new());
        };
        if let Some((_, images)) = self.store.images().await
            && let Some(found) = image::find(images.iter(), &query)
        {
            return Ok(found.repo_digests.first().unwrap_or(&found.id).clone());
        }
        let found = self.engine.inspect_image(&query.engine_name()).await?;
        Ok(found
            .map(|image| self.learn(&image).digest_reference)
            .unwrap_or_default())
    }

    fn learn(&self, image: &ImageInspect) -> Learnt {
        let learnt = Learnt {
            user: image.config.user.clone(),
            digest_reference: image.repo_digests.iter().min().unwrap_or(&image.id).clone(),
        };
        self.learnt().insert(image.id.clone(), learnt.clone());
        learnt
    }

    fn learnt(&self) -> MutexGuard<'_, HashMap<String, Learnt>> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
