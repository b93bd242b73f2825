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
    sync::{Mutex, MutexGuard, PoisonError},
};

use translate::{
    answer::ImageInspect,
    image::{self, ImageQuery},
};

use crate::{config::live::Current, engine::Engine, locks::Locks};

pub use fs::FsUsage;

/// What the calls about images share.
pub struct Images {
    engine: Engine,
    /// The pause image's name, and how long a pull may be without progress.
    live: Current,
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

impl Images {
    /// Images of `engine`.
    pub fn new(engine: Engine, live: Current) -> Self {
        Self {
            engine,
            live,
            learnt: Mutex::default(),
            locks: Locks::default(),
            usage: fs::Usage::default(),
        }
    }

    /// The images that the kubelet must not remove.
    fn pinned(&self) -> Vec<ImageQuery> {
        // The option's own check let no name pass that cannot be read.
        image::pinned_images([self.pause().as_str()]).unwrap_or_default()
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
        let found = self.engine.inspect_image(&query.engine_name()).await?;
        Ok(found
            .map(|image| self.learn(&image).digest_reference)
            .unwrap_or_default())
    }

    fn learn(&self, image: &ImageInspect) -> Learnt {
        let learnt = Learnt {
            user: image.config.user.clone(),
            digest_reference: image.repo_digests.first().unwrap_or(&image.id).clone(),
        };
        self.learnt().insert(image.id.clone(), learnt.clone());
        learnt
    }

    fn learnt(&self) -> MutexGuard<'_, HashMap<String, Learnt>> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
