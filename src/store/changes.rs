//! Changes of sandboxes and containers, in the order in which they become known.

use std::sync::Arc;

use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Store,
    view::{ContainerView, SandboxView},
};
use crate::error::{Error, Result};

/// How many changes a subscriber may be behind.
pub(super) const BACKLOG: usize = 1024;

/// A step in the life of a sandbox or container.
#[derive(Debug)]
pub struct Change {
    /// What has happened.
    pub step: cri::ContainerEventType,
    /// To which container; to a sandbox if it is `sandbox_id`.
    pub id: String,
    /// The pod's sandbox.
    pub sandbox_id: String,
    /// Nanoseconds since the epoch, taken before the state was looked at; each is later than the one before.
    pub at: i64,
    /// The sandbox after the step, or at its end; `None` if it is not known any more.
    pub sandbox: Option<Arc<SandboxView>>,
    /// All containers of the pod after the step.
    pub containers: Vec<Arc<ContainerView>>,
}

/// Receives changes.
pub struct Changes(Receiver<Arc<Change>>);

impl Changes {
    /// The next change. One who is too far behind gets an error, and holds up nobody.
    pub async fn next(&mut self) -> Result<Arc<Change>> {
        self.0.recv().await.map_err(|error| match error {
            RecvError::Lagged(_) => Error::Exhausted(format!(
                "the subscriber is more than {BACKLOG} container events behind"
            )),
            RecvError::Closed => Error::Precondition("no container events any more".into()),
        })
    }
}

impl Store {
    /// Changes from now on.
    pub fn changes(&self) -> Result<Changes> {
        match &self.index {
            Some(index) => Ok(Changes(index.subscribe())),
            None => Err(Error::Precondition(
                "container events come from the memory that --store=off turns off".into(),
            )),
        }
    }
}
