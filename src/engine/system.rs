//! The Engine itself: whether it answers, and what it says of itself.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use translate::{
    answer::{Info, Version},
    facts::{ApiVersion, EngineFacts},
};

use super::{Engine, EngineError, raw::bounded};

/// What the Engine has said of itself.
#[derive(Default)]
pub(super) struct Facts {
    /// Held by the one who asks, so that callers who come meanwhile share the answers.
    asking: tokio::sync::Mutex<()>,
    /// The last answers and their epoch. Apart from the above: an Engine that hangs keeps nobody from them.
    last: Mutex<Option<(u64, Arc<EngineFacts>)>>,
}

impl Facts {
    fn last(&self) -> MutexGuard<'_, Option<(u64, Arc<EngineFacts>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Asks for a sign of life; fails after `within`.
    pub async fn ping(&self, within: Duration) -> Result<(), EngineError> {
        bounded("ping", within, async { self.transport.ping().await.map(drop) }).await
    }

    /// The facts known from an Engine that may be gone by now.
    pub fn last_facts(&self) -> Option<Arc<EngineFacts>> {
        self.facts.last().as_ref().map(|(_, facts)| Arc::clone(facts))
    }

    /// Where the Engine keeps its data.
    pub async fn root_dir(&self) -> Result<String, EngineError> {
        Ok(self.facts().await?.root_dir.clone())
    }

    /// The API version spoken, and all that the Engine says of its configuration, as it says it.
    pub async fn info(&self) -> Result<(ApiVersion, serde_json::Value), EngineError> {
        let api = self.transport.version().await?;
        let info = self.get("/info", "ask for the engine's configuration").await?;
        Ok((api, info))
    }

    /// Has the next use of the facts ask again: the Engine may have been reconfigured.
    pub fn doubt_facts(&self) {
        self.transport.end_epoch();
    }
}

pub(super) async fn facts(engine: &Engine) -> Result<Arc<EngineFacts>, EngineError> {
    // The wait for another caller's questions is within the time as well.
    bounded("ask what the engine can do", engine.timeout, async {
        let _turn = engine.facts.asking.lock().await;
        // Negotiates first where the Engine was away, which may itself begin an epoch.
        let api = engine.transport.version().await?;
        let epoch = engine.transport.epoch();
        if let Some((of, known)) = &*engine.facts.last()
            && *of == epoch
        {
            return Ok(Arc::clone(known));
        }
        let version: Version = engine.get("/version", "ask for the engine's version").await?;
        let info: Info = engine.get("/info", "ask for the engine's configuration").await?;
        let facts = Arc::new(EngineFacts::new(&version, &info, api));
        *engine.facts.last() = Some((epoch, Arc::clone(&facts)));
        Ok(facts)
    })
    .await
}
