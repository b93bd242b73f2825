//! The options that change while dockside runs.

use std::sync::{Arc, PoisonError, RwLock};

use translate::image::{self, ImageQuery};

use super::Live;

impl Live {
    /// The images that the kubelet must not remove.
    pub fn pinned_images(&self) -> Vec<ImageQuery> {
        // The option's own check let no name pass that cannot be read.
        image::pinned_images([self.pod_infra_container_image.as_str()]).unwrap_or_default()
    }
}

/// Their values now. Whoever needs one asks at each use.
#[derive(Debug, Clone)]
pub struct Current(Arc<RwLock<Arc<Live>>>);

impl Current {
    /// The values at the start.
    pub fn new(live: Live) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(live))))
    }

    /// The values now.
    pub fn get(&self) -> Arc<Live> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in their place, for whatever is asked from now on.
    pub fn set(&self, live: Live) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }
}
