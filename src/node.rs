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
    host::{files, oom, privileges::Privileges},
};

/// How long the Engine's privileges are taken for the same: it may be restarted with others.
const FRESH: Duration = Duration::from_secs(60);

/// Reads the host for requests.
pub struct Node {
    socket: PathBuf,
    live: Current,
    engine: Mutex<Option<(Instant, Privileges)>>,
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
        let engine = self.engine().await;
        HostView {
            apparmor_profiles: files::apparmor_profiles().await,
            oom_score_adj_floor: oom::floor(self.live.get().restrict_oom_score_adj, &engine),
            engine_capabilities: engine.capabilities,
            ..HostView::default()
        }
    }

    /// What the Engine's process may do.
    async fn engine(&self) -> Privileges {
        let known = *self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, privileges)) = known
            && when.elapsed() < FRESH
        {
            return privileges;
        }
        let privileges = Privileges::of_engine(&self.socket).await;
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), privileges));
        privileges
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{cli::Cli, config::Restrict};

    #[tokio::test]
    async fn an_option_that_is_reloaded_counts_at_once() {
        let mut live = Cli::try_parse_from_args(&["dockside".into()])
            .unwrap()
            .options
            .live;
        live.restrict_oom_score_adj = Restrict::False;
        let current = Current::new(live.clone());
        let node = Node::new("/no/such/socket".into(), current.clone());
        assert_eq!(node.view().await.oom_score_adj_floor, None);
        live.restrict_oom_score_adj = Restrict::True;
        current.set(live);
        assert!(node.view().await.oom_score_adj_floor.is_some());
    }
}
