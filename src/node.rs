//! What this host allows its containers, as far as a translation has to know it.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use translate::facts::HostView;

use crate::{
    config::live::Current,
    host::{files, oom, privileges},
};

/// How long the Engine's privileges are taken for the same: it may be restarted with others.
const FRESH: Duration = Duration::from_secs(60);

/// Reads the host for requests.
pub struct Node {
    socket: PathBuf,
    live: Current,
    engine: Mutex<Option<(Instant, Allowed)>>,
}

/// What the Engine's process allows containers.
#[derive(Clone, Copy)]
struct Allowed {
    oom_score_adj_floor: Option<i32>,
    capabilities: Option<u64>,
}

impl Node {
    /// The host of the Engine at `socket`.
    pub fn new(socket: PathBuf, live: Current) -> Self {
        Self {
            socket,
            live,
            engine: Mutex::default(),
        }
    }

    /// What every request may need. What only one needs is added by the call.
    pub async fn view(&self) -> HostView {
        let allowed = self.allowed().await;
        HostView {
            apparmor_profiles: files::apparmor_profiles().await,
            oom_score_adj_floor: allowed.oom_score_adj_floor,
            engine_capabilities: allowed.capabilities,
            ..HostView::default()
        }
    }

    async fn allowed(&self) -> Allowed {
        let known = *self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, allowed)) = known
            && when.elapsed() < FRESH
        {
            return allowed;
        }
        let engine = privileges::engine(&self.socket).await;
        let allowed = Allowed {
            oom_score_adj_floor: oom::floor(self.live.get().restrict_oom_score_adj, &engine),
            capabilities: privileges::capabilities(&engine),
        };
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), allowed));
        allowed
    }
}
