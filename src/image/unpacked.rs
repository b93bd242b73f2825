//! What unpacked images take in containerd's store.
//!
//! containerd keeps the sizes of layers in a database of its own, so the Engine is asked, once for each image.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use translate::image::{Layers, unpacked_bytes};

use crate::engine::{Engine, EngineError};

/// The layers of the images that were there at the last sum, by id.
#[derive(Default)]
pub(super) struct Unpacked(Mutex<HashMap<String, Arc<Layers>>>);

impl Unpacked {
    /// Bytes of the images `ids`, each layer once.
    pub(super) async fn bytes(
        &self,
        engine: &Engine,
        ids: impl Iterator<Item = String>,
    ) -> Result<u64, EngineError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = HashMap::new();
        for id in ids {
            let layers = match known.get(&id) {
                Some(layers) => Arc::clone(layers),
                None => Arc::new(ask(engine, &id).await?),
            };
            all.insert(id, layers);
        }
        let bytes = unpacked_bytes(all.values().map(Arc::as_ref));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(bytes)
    }
}

async fn ask(engine: &Engine, id: &str) -> Result<Layers, EngineError> {
    let Some(inspect) = engine.inspect_image(id).await? else {
        // Removed in between.
        return Ok(Layers::default());
    };
    match engine.image_history(id).await {
        Ok(history) => Ok(Layers::of(&inspect, &history)),
        // One that was not pulled whole has none.
        Err(EngineError::Refused { .. }) => Ok(Layers::default()),
        Err(error) => Err(error),
    }
}
