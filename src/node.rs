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
    host::{files, oom},
};

/// How long the Engine's privileges are taken for the same: it may be restarted with others.
const FRESH: Duration = Duration::from_secs(60);

/// Reads the host for requests.
pub struct Node {
    socket: PathBuf,
    live: Current,
    floor: Mutex<Option<(Instant, Option<i32>)>>,
}

impl Node {
    /// The host of the Engine at `socket`.
    pub fn new(socket: PathBuf, live: Current) -> Self {
        Self {
            socket,
            live,
            floor: Mutex::default(),
        }
    }

    /// What every request may need. What only one needs is added by the call.
    pub async fn view(&self) -> HostView {
        HostView {
            apparmor_profiles: files::apparmor_profiles().await,
            oom_score_adj_floor: self.floor().await,
            ..HostView::default()
        }
    }

    async fn floor(&self) -> Option<i32> {
        let known = *self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, floor)) = known
            && when.elapsed() < FRESH
        {
            return floor;
        }
        let floor = oom::floor(self.live.get().restrict_oom_score_adj, &self.socket).await;
        *self.floor.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), floor));
        floor
    }
}
