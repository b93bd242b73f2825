//! Statistics and metrics of pods and containers, read from control groups and `/proc`.
//!
//! Nothing is asked of the Engine beyond what the store knows, and no process is run: the kubelet asks for all of
//! this every ten seconds. What lists read stays open, which is seven to nine files for each container: to open them
//! each time took twice as long as all else. What only metrics read is opened by path.

mod collect;
mod detail;
mod layers;
mod place;
mod read;
mod running;
mod scrape;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use translate::stats::hierarchy::Hierarchies;

use crate::{
    error::{Error, Result},
    host::cgroup,
    image::Images,
    store::Store,
};
use layers::Layers;
use place::Place;

/// The statistics of this node's pods and containers.
pub struct Stats {
    store: Arc<Store>,
    images: Arc<Images>,
    hierarchies: &'static Hierarchies,
    layers: Layers,
    /// Where each running container is found, by its id; pause containers are among them.
    places: Mutex<HashMap<String, Arc<Place>>>,
    /// What processor times are measured from.
    began: Instant,
    /// One scrape at a time: many callers at once must not make many readings at once.
    scraping: tokio::sync::Mutex<()>,
}

impl Stats {
    /// Statistics of what is in `store`.
    pub fn new(store: Arc<Store>, images: Arc<Images>) -> Result<Arc<Self>> {
        let hierarchies = cgroup::hierarchies().map_err(Error::host(format!("read {}", cgroup::MOUNTS)))?;
        Ok(Arc::new(Self {
            store,
            images,
            hierarchies,
            layers: Layers::start().map_err(Error::host("start the thread that counts writable layers"))?,
            places: Mutex::default(),
            began: Instant::now(),
            scraping: tokio::sync::Mutex::default(),
        }))
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what reads many files, away from the threads that serve.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&this))
            .await
            .map_err(|error| Error::Internal(format!("collect statistics: {error}")))
    }
}
