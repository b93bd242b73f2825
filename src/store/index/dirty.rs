//! Marks: what has to be looked at again.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{Index, Key, State, Ticket};
use crate::clock;

/// After a failed inspection.
const RETRY: Duration = Duration::from_secs(1);

/// One mark.
pub(super) struct Dirty {
    /// Of the last event or call that named it.
    pub(super) generation: u64,
    /// Of the first one that no inspection has followed yet: who came after that one waits, however often the
    /// mark is renewed meanwhile.
    pub(super) since: u64,
    /// Since when it is being inspected.
    pub(super) flying: Option<Instant>,
    /// Inspections that have failed since it was last renewed.
    pub(super) failures: u32,
    retry: Option<Instant>,
}

impl Index {
    /// Something may have changed.
    pub(in crate::store) fn mark(&self, key: Key) {
        let marked = self.lock().mark(key);
        if marked {
            self.work.notify_one();
        }
    }

    /// Marks all of these, all that is known, and the images. Returns the generation of the last mark.
    pub(in crate::store) fn mark_all(&self, ids: impl IntoIterator<Item = String>) -> u64 {
        let mut state = self.lock();
        let known = state.sandboxes.keys().chain(state.containers.keys());
        let known: Vec<_> = known.cloned().collect();
        for id in ids.into_iter().chain(known) {
            state.mark(Key::Object(id));
        }
        state.mark(Key::Images);
        let generation = state.generation;
        drop(state);
        self.work.notify_one();
        generation
    }

    /// An object is about to be changed by a call of ours: it is looked at after that. The Engine answers no inspection
    /// of a container that it is starting, so who wants to know meanwhile asks for its list.
    pub(in crate::store) fn hold(&self, id: &str) {
        *self.lock().held.entry(id.to_owned()).or_default() += 1;
        // Whoever waits for it need not do so any more.
        self.progress.notify_waiters();
    }

    /// That call is over.
    pub(in crate::store) fn release(&self, id: &str) {
        let mut state = self.lock();
        if let Some(count) = state.held.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(id);
            }
        }
        state.mark(Key::Object(id.to_owned()));
        drop(state);
        self.work.notify_one();
    }

    /// What is to be inspected now.
    pub(in crate::store) fn due(&self) -> Vec<Key> {
        let now = Instant::now();
        let mut state = self.lock();
        let State {
            dirty,
            held,
            listening,
            ..
        } = &mut *state;
        if !*listening {
            return Vec::new();
        }
        let due = dirty.iter_mut().filter(|(key, mark)| {
            mark.flying.is_none() && mark.retry.is_none_or(|when| when <= now) && !key.is_in(held)
        });
        due.map(|(key, mark)| {
            mark.flying = Some(now);
            key.clone()
        })
        .collect()
    }

    /// When a failed inspection is to be repeated.
    pub(in crate::store) fn next_retry(&self) -> Option<Instant> {
        let state = self.lock();
        let marks = state.dirty.iter();
        let marks = marks.filter(|(key, mark)| mark.flying.is_none() && !key.is_in(&state.held));
        marks
            .filter_map(|(_, mark)| mark.retry)
            .min()
            .filter(|_| state.listening)
    }

    /// The inspection of `key` begins now; `None` if it is not needed any more.
    pub(in crate::store) fn begin(&self, key: Key) -> Option<Ticket> {
        let state = self.lock();
        let generation = state.dirty.get(&key)?.generation;
        Some(Ticket {
            key,
            epoch: state.epoch,
            generation,
            at: clock::now(),
        })
    }

    /// Returns when there may be something to inspect.
    pub(in crate::store) async fn work(&self) {
        self.work.notified().await;
    }

    /// Returns when somebody begins to wait.
    pub(in crate::store) async fn urged(&self) {
        self.urge.notified().await;
    }

    /// Whether somebody waits for inspections, or wants to hear of changes at once.
    pub(in crate::store) fn is_urgent(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0 || self.changes.receiver_count() > 0
    }
}

impl State {
    /// Returns whether it is marked: what is gone is not.
    pub(super) fn mark(&mut self, key: Key) -> bool {
        if matches!(&key, Key::Object(id) if self.gone.contains_key(id)) {
            return false;
        }
        self.generation += 1;
        let generation = self.generation;
        let mark = self.dirty.entry(key).or_insert_with(|| Dirty {
            generation,
            since: generation,
            flying: None,
            failures: 0,
            retry: None,
        });
        mark.generation = generation;
        // What has failed before may be mended.
        mark.failures = 0;
        mark.retry = None;
        true
    }

    /// An inspection has ended well. Its mark goes, unless it was renewed meanwhile or the events broke off.
    pub(super) fn landed(&mut self, ticket: &Ticket, current: bool) {
        let Some(mark) = self.dirty.get_mut(&ticket.key) else {
            return;
        };
        mark.flying = None;
        if current && mark.generation == ticket.generation {
            self.dirty.remove(&ticket.key);
        } else if current {
            mark.since = ticket.generation + 1;
        }
    }

    /// Returns whether it is the first failure since the mark was renewed.
    pub(super) fn failed(&mut self, ticket: &Ticket) -> bool {
        let Some(mark) = self.dirty.get_mut(&ticket.key) else {
            return false;
        };
        mark.flying = None;
        if mark.generation != ticket.generation {
            return false;
        }
        mark.failures += 1;
        mark.retry = Some(Instant::now() + RETRY);
        mark.failures == 1
    }
}
