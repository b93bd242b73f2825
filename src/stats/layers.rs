//! How much containers have written, counted in the background.
//!
//! To count means to look at every file. One thread of the lowest priority does it, for containers that somebody
//! asks about, and rests nine times as long as it works. So a layer's size is at most [`INTERVAL`] old, or fifty
//! times as long as it takes to count it.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing::debug;
use translate::stats::LayerUsage;

use crate::{clock, host::usage};

/// Between two counts of one layer. The kubelet evicts a pod for what it has written every 10 s at most, and
/// containerd counts as often; with layers of a few hundred files a count costs well below a millisecond.
const INTERVAL: Duration = Duration::from_secs(15);

/// A layer that takes long to count is counted less often: after so many times as long as the count took.
const RARELY: u32 = 50;

/// Nobody has asked for longer than this: no count.
const INTEREST: Duration = Duration::from_secs(300);

/// Work without a rest.
const STINT: Duration = Duration::from_millis(10);

/// How much longer than the work the rest is.
const REST: u32 = 9;

/// The writable layers of running containers.
pub(super) struct Layers {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    layers: HashMap<String, Layer>,
    ended: bool,
}

struct Layer {
    directory: PathBuf,
    usage: Option<LayerUsage>,
    /// Whether it was looked at, with or without success.
    counted: bool,
    due: Instant,
    asked: Instant,
}

impl Layers {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("layers".into())
            .stack_size(256 << 10)
            .spawn(move || of_thread.run())?;
        Ok(Self { shared })
    }

    /// Has a container's layer counted from now on.
    pub(super) fn add(&self, id: &str, directory: PathBuf) {
        let now = Instant::now();
        let layer = Layer {
            directory,
            usage: None,
            counted: false,
            due: now,
            asked: now,
        };
        self.shared.lock().layers.insert(id.to_owned(), layer);
        self.shared.changed.notify_all();
    }

    /// What a container has written, at the last count.
    pub(super) fn get(&self, id: &str) -> Option<LayerUsage> {
        let mut state = self.shared.lock();
        let layer = state.layers.get_mut(id)?;
        let now = Instant::now();
        if now.duration_since(layer.asked) > INTEREST {
            self.shared.changed.notify_all();
        }
        layer.asked = now;
        layer.usage
    }

    /// Waits until each of these has been counted once, for `patience` at most.
    pub(super) fn wait(&self, ids: &[&str], patience: Duration) {
        let waiting = |state: &mut State| {
            let uncounted = |id: &&str| state.layers.get(*id).is_some_and(|layer| !layer.counted);
            ids.iter().any(uncounted)
        };
        let state = self.shared.lock();
        drop(self.shared.changed.wait_timeout_while(state, patience, waiting));
    }

    /// Forgets those that `wanted` does not want.
    pub(super) fn retain(&self, wanted: impl Fn(&str) -> bool) {
        self.shared.lock().layers.retain(|id, _| wanted(id));
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        // Linux knows priorities of threads: this is the calling one's.
        let _ = rustix::process::nice(19);
        while let Some((id, directory)) = self.next() {
            let mut rests = Rests::default();
            let began = Instant::now();
            let counted = usage::below(&directory, &mut || rests.rest_if_due());
            let worked = began.elapsed().saturating_sub(rests.rested);
            let usage = match counted {
                Ok(usage) => Some(LayerUsage {
                    bytes: usage.bytes,
                    inodes: usage.inodes,
                    timestamp: clock::now(),
                }),
                Err(error) => {
                    debug!(id, "cannot count {}: {error}", directory.display());
                    None
                }
            };
            let mut state = self.lock();
            if let Some(layer) = state.layers.get_mut(&id) {
                layer.usage = usage;
                layer.counted = true;
                layer.due = Instant::now() + INTERVAL.max(worked * RARELY);
            }
            drop(state);
            self.changed.notify_all();
            thread::sleep((worked * REST).saturating_sub(rests.rested));
        }
    }

    /// The layer that is to be counted next, when its time has come. `None` at the end.
    fn next(&self) -> Option<(String, PathBuf)> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            let now = Instant::now();
            let asked_for = state
                .layers
                .iter()
                .filter(|(_, layer)| now.duration_since(layer.asked) <= INTEREST);
            let Some((id, layer)) = asked_for.min_by_key(|(_, layer)| layer.due) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let early = layer.due.saturating_duration_since(now);
            if early.is_zero() {
                return Some((id.clone(), layer.directory.clone()));
            }
            let waited = self.changed.wait_timeout(state, early);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The rests within one count.
struct Rests {
    since: Instant,
    rested: Duration,
}

impl Default for Rests {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            rested: Duration::ZERO,
        }
    }
}

impl Rests {
    fn rest_if_due(&mut self) {
        let worked = self.since.elapsed();
        if worked >= STINT {
            let began = Instant::now();
            thread::sleep(worked * REST);
            self.rested += began.elapsed();
            self.since = Instant::now();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_counted_soon_and_forgotten_when_unwanted() {
        let layers = Layers::start().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), vec![1; 100_000]).unwrap();
        assert_eq!(layers.get("one"), None);
        layers.add("one", directory.path().into());
        layers.add("gone", "/nonexistent".into());
        layers.wait(&["one", "gone", "never added"], Duration::from_secs(30));
        let usage = layers.get("one").unwrap();
        assert!(usage.bytes >= 100_000 && usage.timestamp > 0, "{usage:?}");
        assert_eq!(usage.inodes, 2);
        assert_eq!(layers.get("gone"), None);
        layers.retain(|id| id != "one");
        assert_eq!(layers.get("one"), None);
    }
}
