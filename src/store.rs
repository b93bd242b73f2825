//! What dockside knows of the node's sandboxes, containers and images. Every read goes through here.
//!
//! The Engine's events keep a memory of all of them ([`index`]), from which reads are answered without a call to
//! the Engine. Where that memory is in doubt, and with `--store=off`, the Engine is asked.

mod changes;
mod check;
mod containers;
mod images;
mod index;
mod inspect;
mod keep;
mod sandboxes;
mod view;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use translate::{
    answer::ContainerInspect,
    labels::{ContainerRecord, SandboxRecord},
};

use crate::{
    config::live::Current,
    engine::Engine,
    error::Result,
    host::kernel_log::KernelLog,
    logs::{LogSpec, Logs},
};
pub use changes::{Change, Changes};
use index::{Found, Index, Key, Scope, Seen, Trust};
pub use view::{ContainerView, SandboxView};

/// A sandbox's lasting part.
#[derive(Debug)]
pub struct Sandbox {
    /// The pause container's id.
    pub id: String,
    /// What was asked for.
    pub record: SandboxRecord,
    /// Whether the pod uses the host's network: as the Engine has it, since other runtimes leave no record.
    pub host_network: bool,
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

/// The node's sandboxes, containers and images.
pub struct Store {
    engine: Engine,
    /// An exit is shown only after the container's log is complete.
    logs: Arc<Logs>,
    known: Mutex<Known>,
    kernel_log: Arc<KernelLog>,
    /// `None` where the Engine is asked each time.
    index: Option<Arc<Index>>,
    /// How often the memory is compared with the Engine.
    check_interval: Duration,
    /// Which images the kubelet must not remove.
    live: Current,
}

/// What never changes, by id.
#[derive(Default)]
struct Known {
    sandboxes: HashMap<String, Arc<Sandbox>>,
    containers: HashMap<String, Arc<Container>>,
    /// Containers that the Engine could not start, which its list does not tell from new ones.
    cannot_run: HashSet<String>,
    image_users: HashMap<String, String>,
}

/// How the memory is kept.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Whether there is one.
    pub remember: bool,
    /// How often it is compared with the Engine.
    pub check_interval: Duration,
}

/// What the memory has cost, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Objects that were inspected because of an event or a call.
    pub inspections: u64,
    /// How often all that is known was looked at anew: at the start, and after the events had broken off.
    pub resyncs: u64,
    /// Objects that were remembered otherwise than the Engine had them. Must stay 0.
    pub differences: u64,
}

/// A call that changes an object: it is looked at when this is dropped.
#[must_use]
pub struct Changing<'a> {
    store: &'a Store,
    id: &'a str,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if let Some(index) = &self.store.index {
            index.release(self.id);
        }
    }
}

impl Store {
    /// A store of `engine`'s objects. [`Store::keep`] is to be run beside it. `live` tells which
    /// images the kubelet must not remove.
    pub fn new(engine: Engine, logs: Arc<Logs>, options: StoreOptions, live: Current) -> Self {
        Self {
            engine,
            logs,
            known: Mutex::default(),
            kernel_log: Arc::default(),
            index: options.remember.then(|| Arc::new(Index::new())),
            check_interval: options.check_interval,
            live,
        }
    }

    /// Whether there is a memory.
    pub fn remembers(&self) -> bool {
        self.index.is_some()
    }

    /// What the memory has cost.
    pub fn figures(&self) -> StoreFigures {
        let Some(index) = &self.index else {
            return StoreFigures::default();
        };
        StoreFigures {
            inspections: index.inspections.load(Ordering::Relaxed),
            resyncs: index.resyncs.load(Ordering::Relaxed),
            differences: index.differences.load(Ordering::Relaxed),
        }
    }

    /// Notes that a call of ours has changed an object: whoever reads from now on sees it.
    pub fn changed(&self, id: &str) {
        if let Some(index) = &self.index {
            index.mark(Key::Object(id.to_owned()));
        }
    }

    /// The same for a call that is being made: the object is looked at after its end.
    pub fn changing<'a>(&'a self, id: &'a str) -> Changing<'a> {
        if let Some(index) = &self.index {
            index.hold(id);
        }
        Changing { store: self, id }
    }

    /// The memory, where it may answer for `scope`.
    async fn memory(&self, scope: Scope<'_>) -> Option<&Index> {
        let index = self.index.as_deref()?;
        (index.settled(scope, false).await == Trust::Whole).then_some(index)
    }

    /// The same for who is content with what was seen last of objects that cannot be inspected now.
    async fn last_seen(&self) -> Option<&Index> {
        let index = self.index.as_deref()?;
        (index.settled(Scope::All, true).await != Trust::None).then_some(index)
    }

    /// An inspected object; its log is brought up to that.
    async fn see(&self, mut inspect: ContainerInspect) -> Result<Seen> {
        if let Some(sandbox) = self.learn_inspected(&inspect) {
            return Ok(Seen::Sandbox(SandboxView::new(sandbox, inspect)));
        }
        let (id, name, labels) = (&inspect.id, &inspect.name, &inspect.config.labels);
        let Some(container) = self.learn_container(id, name, labels) else {
            return Ok(Seen::Nothing);
        };
        self.note_state(&container, &mut inspect).await?;
        Ok(Seen::Container(ContainerView::new(container, inspect)))
    }

    fn forget_known(&self, id: &str) {
        let mut known = self.known();
        known.sandboxes.remove(id);
        known.containers.remove(id);
        known.cannot_run.remove(id);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
