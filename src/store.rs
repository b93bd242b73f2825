//! What dockside knows of the node's sandboxes and containers. Every read goes through here.
//!
//! States are asked of the Engine. What can never change (an object's id, its sandbox, what it was
//! asked for) is remembered, because the Engine tells it only in an inspection of its own.

mod containers;
mod sandboxes;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use translate::labels::{ContainerRecord, SandboxRecord};

use crate::{
    engine::Engine,
    logs::{LogSpec, Logs},
};

/// A sandbox's lasting part.
#[derive(Debug)]
pub struct Sandbox {
    /// The pause container's id.
    pub id: String,
    /// What was asked for.
    pub record: SandboxRecord,
}

impl Sandbox {
    /// Whether the pod uses the host's network.
    pub fn host_network(&self) -> bool {
        let context = self
            .record
            .config
            .linux
            .as_ref()
            .and_then(|linux| linux.security_context.as_ref());
        let options = context.and_then(|context| context.namespace_options.as_ref());
        options.is_some_and(|options| options.network == i32::from(cri::NamespaceMode::Node))
    }
}

/// A container's lasting part.
#[derive(Debug)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its sandbox's id.
    pub sandbox_id: String,
    /// What was asked for.
    pub record: ContainerRecord,
}

impl Container {
    /// Its two logs; `None` if it has none. The Engine keeps its data in `root`.
    pub fn logs(&self, root: &str) -> Option<LogSpec> {
        let (directory, path) = self.record.log_place()?;
        let id = &self.id;
        Some(LogSpec {
            source: format!("{root}/containers/{id}/{id}-json.log").into(),
            directory: directory.into(),
            path: path.into(),
        })
    }
}

/// The node's sandboxes and containers.
pub struct Store {
    engine: Engine,
    /// An exit is shown only after the container's log is complete.
    logs: Arc<Logs>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    sandboxes: HashMap<String, Arc<Sandbox>>,
    containers: HashMap<String, Arc<Container>>,
    /// Containers that the Engine could not start, which its list does not tell from new ones.
    cannot_run: HashSet<String>,
}

impl Store {
    /// A store that asks `engine`.
    pub fn new(engine: Engine, logs: Arc<Logs>) -> Self {
        Self {
            engine,
            logs,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
