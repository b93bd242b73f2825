//! What is remembered of the node, and whether it may be told.
//!
//! Nothing here asks the Engine: ids are marked as dirty, whoever keeps the index inspects them and
//! brings what was seen, readers wait until what was dirty when they came is clean. A mark counts up a
//! generation, and what was seen cleans a mark only if it was looked at after that. Ids are never used
//! twice, so one that is known as gone stays so, whatever a late inspection says.

mod compare;
mod dirty;
mod read;
mod steps;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cri::encoded::List;
use tokio::sync::{Notify, broadcast};

use super::{
    changes::{BACKLOG, Change},
    view::{ContainerView, SandboxView},
};
use crate::clock;
use dirty::Dirty;
pub(super) use read::{Found, PATIENCE, Scope, Trust};

/// How long the ids of what was removed are kept: longer than any inspection takes.
const TOMBSTONE: Duration = Duration::from_secs(600);

/// What is inspected as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    /// A sandbox or container, by its id.
    Object(String),
    /// All images.
    Images,
}

impl Key {
    /// Whether it is one of these objects.
    fn is_in(&self, objects: &HashMap<String, usize>) -> bool {
        matches!(self, Self::Object(id) if objects.contains_key(id))
    }
}

/// What an inspection has found.
pub(super) enum Seen {
    Sandbox(SandboxView),
    Container(ContainerView),
    Images(Vec<cri::Image>),
    /// There is no such object, or it is not Kubernetes'.
    Nothing,
}

/// An inspection under way: what it may clean.
pub(super) struct Ticket {
    pub(super) key: Key,
    epoch: u64,
    generation: u64,
    /// The time of day at which it began.
    at: i64,
}

/// The memory.
pub(super) struct Index {
    state: Mutex<State>,
    /// Something was cleaned, or trust was lost.
    progress: Notify,
    /// There is something to inspect.
    work: Notify,
    /// Somebody has begun to wait for it.
    urge: Notify,
    waiting: AtomicUsize,
    changes: broadcast::Sender<Arc<Change>>,
    pub(super) inspections: AtomicU64,
    pub(super) differences: AtomicU64,
    pub(super) resyncs: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Counts the event streams.
    epoch: u64,
    /// Whether events are heard.
    listening: bool,
    /// Whether everything there was when the events began to be heard was looked at since.
    trusted: bool,
    /// Whether that was ever so.
    met: bool,
    generation: u64,
    dirty: BTreeMap<Key, Dirty>,
    /// Objects that a call of ours is about to change, and how many such calls.
    held: HashMap<String, usize>,
    gone: HashMap<String, Instant>,
    sandboxes: BTreeMap<String, Slot<SandboxView>>,
    containers: BTreeMap<String, Slot<ContainerView>>,
    images: Option<Slot<Vec<cri::Image>>>,
    lists: Lists,
    /// The time of the last change that was told.
    told: i64,
}

/// Whole lists, until something in them changes.
#[derive(Default)]
struct Lists {
    sandboxes: Option<List>,
    containers: Option<List>,
}

/// What was seen, and the generation at which the look at it began.
struct Slot<T> {
    generation: u64,
    view: Arc<T>,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            progress: Notify::new(),
            work: Notify::new(),
            urge: Notify::new(),
            waiting: AtomicUsize::new(0),
            changes: broadcast::Sender::new(BACKLOG),
            inspections: AtomicU64::new(0),
            differences: AtomicU64::new(0),
            resyncs: AtomicU64::new(0),
        }
    }

    /// Events are heard from now on. What is known is from before.
    pub(super) fn listen(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        state.listening = true;
        state.trusted = false;
    }

    /// Events are not heard any more.
    pub(super) fn distrust(&self) {
        let mut state = self.lock();
        state.listening = false;
        state.trusted = false;
        drop(state);
        self.progress.notify_waiters();
    }

    /// Everything has been looked at since events are heard.
    pub(super) fn trust(&self) {
        let mut state = self.lock();
        state.trusted = state.listening;
        state.met = true;
        drop(state);
        self.resyncs.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what an inspection has found.
    pub(super) fn apply(&self, ticket: Ticket, seen: Seen) {
        let mut state = self.lock();
        let current = ticket.epoch == state.epoch;
        if current {
            self.see(&mut state, &ticket, seen);
        }
        state.landed(&ticket, current);
        drop(state);
        self.inspections.fetch_add(1, Ordering::Relaxed);
        self.progress.notify_waiters();
        self.work.notify_one();
    }

    /// An inspection did not succeed; it is repeated after a while. Returns whether that is news.
    pub(super) fn fail(&self, ticket: &Ticket) -> bool {
        let first = self.lock().failed(ticket);
        self.progress.notify_waiters();
        self.work.notify_one();
        first
    }

    /// An object was removed, whatever inspections that are under way will find.
    pub(super) fn bury(&self, id: &str) {
        let mut state = self.lock();
        self.forget(&mut state, id, clock::now());
        let now = Instant::now();
        state.gone.retain(|_, since| now - *since < TOMBSTONE);
        state.gone.insert(id.to_owned(), now);
        state.dirty.remove(&Key::Object(id.to_owned()));
        drop(state);
        self.progress.notify_waiters();
    }

    /// Whoever wants to know of changes.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    fn see(&self, state: &mut State, ticket: &Ticket, seen: Seen) {
        let generation = ticket.generation;
        let id = match (&ticket.key, seen) {
            (Key::Images, Seen::Images(list)) => {
                let view = Arc::new(list);
                state.images = Some(Slot { generation, view });
                return;
            }
            (Key::Images, _) => return,
            (Key::Object(id), _) if state.gone.contains_key(id) => return,
            (Key::Object(id), Seen::Sandbox(view)) => {
                let old = state.sandboxes.get(id).map(|slot| &slot.view.inspect);
                let steps = steps::steps(old, &view.inspect);
                let view = Arc::new(view);
                state.lists.sandboxes = None;
                state.sandboxes.insert(id.clone(), Slot { generation, view });
                for step in steps {
                    self.tell(state, step, id, id, ticket.at, None);
                }
                return;
            }
            (Key::Object(id), Seen::Container(view)) => {
                let old = state.containers.get(id).map(|slot| &slot.view.inspect);
                let steps = steps::steps(old, &view.inspect);
                let sandbox_id = view.container.sandbox_id.clone();
                let view = Arc::new(view);
                state.lists.containers = None;
                state.containers.insert(id.clone(), Slot { generation, view });
                for step in steps {
                    self.tell(state, step, id, &sandbox_id, ticket.at, None);
                }
                return;
            }
            (Key::Object(id), Seen::Nothing | Seen::Images(_)) => id,
        };
        self.forget(state, id, ticket.at);
    }

    fn forget(&self, state: &mut State, id: &str, at: i64) {
        state.lists = Lists::default();
        let (sandbox_id, running, sandbox) = if let Some(slot) = state.containers.remove(id) {
            let running = slot.view.inspect.state.running;
            (slot.view.container.sandbox_id.clone(), running, None)
        } else if let Some(slot) = state.sandboxes.remove(id) {
            (id.to_owned(), slot.view.inspect.state.running, Some(slot.view))
        } else {
            return;
        };
        let stopped = running.then_some(cri::ContainerEventType::ContainerStoppedEvent);
        for step in stopped
            .into_iter()
            .chain([cri::ContainerEventType::ContainerDeletedEvent])
        {
            self.tell(state, step, id, &sandbox_id, at, sandbox.clone());
        }
    }

    /// Tells whoever listens of a change, with the pod as it is now. `sandbox` is one that is gone.
    fn tell(
        &self,
        state: &mut State,
        step: cri::ContainerEventType,
        id: &str,
        sandbox_id: &str,
        at: i64,
        sandbox: Option<Arc<SandboxView>>,
    ) {
        // What is met at the first look around has not changed.
        if !state.met || self.changes.receiver_count() == 0 {
            return;
        }
        let sandbox = sandbox.or_else(|| state.sandboxes.get(sandbox_id).map(|slot| Arc::clone(&slot.view)));
        // In order, even if the clock was set back.
        state.told = at.max(state.told + 1);
        let change = Change {
            step,
            id: id.to_owned(),
            sandbox_id: sandbox_id.to_owned(),
            at: state.told,
            sandbox,
            containers: state.members(sandbox_id),
        };
        // An error means that nobody listens any more.
        let _ = self.changes.send(Arc::new(change));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_clean(&self, key: &Key) -> bool {
        !self.dirty.contains_key(key)
    }

    fn members(&self, sandbox_id: &str) -> Vec<Arc<ContainerView>> {
        let slots = self.containers.values();
        let members = slots.filter(|slot| slot.view.container.sandbox_id == sandbox_id);
        members.map(|slot| Arc::clone(&slot.view)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests;
