//! The Engine itself: whether it answers, and what it says of itself.

use std::{sync::Arc, time::Duration};

use translate::{
    answer::{Info, Version},
    facts::{ApiVersion, EngineFacts},
};

use super::{Engine, EngineError};

/// Facts and the epoch they were asked in.
pub(super) struct CachedFacts {
    epoch: u64,
    facts: Arc<EngineFacts>,
}

impl Engine {
    /// Asks for a sign of life; fails after `within`.
    pub async fn ping(&self, within: Duration) -> Result<(), EngineError> {
        self.bounded("ping", within, async { self.transport.ping().await.map(drop) })
            .await
    }

    /// The facts known from an Engine that may be gone by now.
    pub async fn last_facts(&self) -> Option<Arc<EngineFacts>> {
        self.facts
            .lock()
            .await
            .as_ref()
            .map(|cached| Arc::clone(&cached.facts))
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

    /// Forgets the facts, so that the next use asks again: the Engine may have been reconfigured.
    pub async fn forget_facts(&self) {
        *self.facts.lock().await = None;
    }
}

pub(super) async fn facts(engine: &Engine) -> Result<Arc<EngineFacts>, EngineError> {
    // Held across the questions, so that callers who come meanwhile share their answers.
    let mut cached = engine.facts.lock().await;
    // Negotiates first where the Engine was away, which may itself begin an epoch.
    let api = engine.transport.version().await?;
    let epoch = engine.transport.epoch();
    if let Some(known) = &*cached
        && known.epoch == epoch
    {
        return Ok(Arc::clone(&known.facts));
    }
    let version: Version = engine.get("/version", "ask for the engine's version").await?;
    let info: Info = engine.get("/info", "ask for the engine's configuration").await?;
    let facts = Arc::new(EngineFacts::new(&version, &info, api));
    *cached = Some(CachedFacts {
        epoch,
        facts: Arc::clone(&facts),
    });
    Ok(facts)
}
