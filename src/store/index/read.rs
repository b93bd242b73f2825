//! Reading from memory, where that may be done.

use std::{
    collections::BTreeMap,
    ops::Bound,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use cri::encoded::List;
use tokio::time::{timeout, timeout_at};

use super::{Index, Key, Slot, State};
use crate::store::view::{ContainerView, SandboxView};

/// How long anybody waits for an inspection: a container that the Engine cannot inspect must not hold up the others.
pub(in crate::store) const PATIENCE: Duration = Duration::from_secs(2);

/// What a reader wants to know.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Scope<'a> {
    /// All sandboxes and containers.
    All,
    /// A sandbox and its containers.
    Pod(&'a str),
    /// A sandbox or container.
    One(&'a str),
    /// The images.
    Images,
}

/// How far the memory may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Trust {
    /// For all that was asked.
    Whole,
    /// For some objects it tells only what was seen last: they have changed since, and cannot be inspected now.
    Partial,
    /// It is not known what there is.
    None,
}

/// What is known of an id, or of the beginning of one.
pub(in crate::store) enum Found<T> {
    Known(Arc<T>),
    /// It was removed.
    Gone,
    /// The Engine may know.
    Unknown,
}

/// Counts somebody who waits.
struct Waiting<'a>(&'a Index);

impl<'a> Waiting<'a> {
    fn new(index: &'a Index) -> Self {
        index.waiting.fetch_add(1, Ordering::AcqRel);
        index.urge.notify_one();
        index.work.notify_one();
        Self(index)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Index {
    /// Whether `scope` may be read from memory. Waits until all that was dirty at the call is clean, as long as that
    /// may come about soon; where it may not for some objects, `for_others` waits for all others still.
    pub(in crate::store) async fn settled(&self, scope: Scope<'_>, for_others: bool) -> Trust {
        let began = Instant::now();
        let (mut arrival, mut waiting) = (None, None);
        loop {
            let mut progress = pin!(self.progress.notified());
            // From here on no progress is missed.
            progress.as_mut().enable();
            let since = {
                let state = self.lock();
                if !state.trusted {
                    return Trust::None;
                }
                let arrival = *arrival.get_or_insert(state.generation);
                let doubt = state.doubt(scope, arrival);
                match doubt.waits {
                    None if doubt.hopeless => return Trust::Partial,
                    None => return Trust::Whole,
                    Some(_) if doubt.hopeless && !for_others => return Trust::Partial,
                    Some(since) => since.unwrap_or(began),
                }
            };
            let deadline = since + PATIENCE;
            if deadline <= Instant::now() {
                return Trust::Partial;
            }
            waiting.get_or_insert_with(|| Waiting::new(self));
            // Looked at again in either case.
            let _ = timeout_at(deadline.into(), progress).await;
        }
    }

    /// Returns when all that was marked up to `generation` was looked at, if only in vain, or cannot be for now.
    pub(in crate::store) async fn attempted(&self, generation: u64) {
        let _waiting = Waiting::new(self);
        loop {
            let mut progress = pin!(self.progress.notified());
            progress.as_mut().enable();
            let open = |state: &State| {
                state.dirty.iter().any(|(key, mark)| {
                    let may_land = mark.flying.is_none_or(|since| since.elapsed() < PATIENCE);
                    mark.since <= generation && mark.failures == 0 && may_land && !key.is_in(&state.held)
                })
            };
            if !open(&self.lock()) {
                return;
            }
            // Looked at again in either case.
            let _ = timeout(PATIENCE, progress).await;
        }
    }

    /// The sandboxes that `wanted` lets pass.
    pub(in crate::store) fn sandboxes<T>(
        &self,
        wanted: &cri::PodSandboxFilter,
        take: impl Fn(&Arc<SandboxView>) -> T,
    ) -> Vec<T> {
        let state = self.lock();
        let views = state.sandboxes.values().map(|slot| &slot.view);
        views
            .filter(|view| translate::filter::sandbox(view.filtered(), wanted))
            .map(take)
            .collect()
    }

    /// The containers that `wanted` lets pass.
    pub(in crate::store) fn containers<T>(
        &self,
        wanted: &cri::ContainerFilter,
        take: impl Fn(&Arc<ContainerView>) -> T,
    ) -> Vec<T> {
        let state = self.lock();
        let views = state.containers.values().map(|slot| &slot.view);
        views
            .filter(|view| translate::filter::container(view.filtered(), wanted))
            .map(take)
            .collect()
    }

    /// All sandboxes, as an answer: the one that is asked for each second, made once for each change.
    pub(in crate::store) fn sandbox_list(&self) -> List {
        let mut state = self.lock();
        let State { sandboxes, lists, .. } = &mut *state;
        let items = || sandboxes.values().map(|slot| slot.view.item());
        let list = lists
            .sandboxes
            .get_or_insert_with(|| List::of(&items().collect::<Vec<_>>()));
        list.clone()
    }

    /// All containers, likewise.
    pub(in crate::store) fn container_list(&self) -> List {
        let mut state = self.lock();
        let State {
            containers, lists, ..
        } = &mut *state;
        let items = || containers.values().map(|slot| slot.view.item());
        let list = lists
            .containers
            .get_or_insert_with(|| List::of(&items().collect::<Vec<_>>()));
        list.clone()
    }

    /// One container.
    pub(in crate::store) fn container(&self, id: &str) -> Found<ContainerView> {
        let state = self.lock();
        state.find(&state.containers, id)
    }

    /// One sandbox with its containers.
    pub(in crate::store) fn pod(&self, id: &str) -> (Found<SandboxView>, Vec<Arc<ContainerView>>) {
        let state = self.lock();
        let found = state.find(&state.sandboxes, id);
        let members = match &found {
            Found::Known(view) => state.members(&view.sandbox.id),
            _ => Vec::new(),
        };
        (found, members)
    }

    /// The images, and the generation that they are of.
    pub(in crate::store) fn images(&self) -> Option<(u64, Arc<Vec<cri::Image>>)> {
        let state = self.lock();
        let slot = state.images.as_ref()?;
        Some((slot.generation, Arc::clone(&slot.view)))
    }
}

/// What keeps a reader.
#[derive(Default)]
struct Doubt {
    /// Something is not clean, and will not be soon.
    hopeless: bool,
    /// Something is to be inspected, or is being so, the slowest since then.
    waits: Option<Option<Instant>>,
}

impl State {
    /// What keeps a reader of `scope` who came at `arrival`.
    fn doubt(&self, scope: Scope<'_>, arrival: u64) -> Doubt {
        let marks = self.dirty.iter();
        let marks = marks.filter(|(key, mark)| mark.since <= arrival && self.covers(scope, key));
        let mut doubt = Doubt::default();
        for (key, mark) in marks {
            let is_stuck = mark.flying.is_some_and(|since| since.elapsed() >= PATIENCE);
            if mark.failures > 0 || is_stuck || key.is_in(&self.held) {
                doubt.hopeless = true;
                continue;
            }
            let since = doubt.waits.flatten().into_iter().chain(mark.flying).min();
            doubt.waits = Some(since);
        }
        doubt
    }

    /// Whether what `key` names belongs to `scope`, for all that is known. An id may be the beginning of one.
    fn covers(&self, scope: Scope<'_>, key: &Key) -> bool {
        match (scope, key) {
            (Scope::All, Key::Object(_)) | (Scope::Images, Key::Images) => true,
            (Scope::One(wanted), Key::Object(id)) => id.starts_with(wanted),
            (Scope::Pod(wanted), Key::Object(id)) => match self.containers.get(id) {
                Some(slot) => slot.view.container.sandbox_id.starts_with(wanted),
                None => id.starts_with(wanted) || !self.sandboxes.contains_key(id),
            },
            _ => false,
        }
    }

    fn find<T>(&self, slots: &BTreeMap<String, Slot<T>>, id: &str) -> Found<T> {
        if self.gone.contains_key(id) {
            return Found::Gone;
        }
        let mut matching = slots
            .range::<str, _>((Bound::Included(id), Bound::Unbounded))
            .take_while(|(whole, _)| whole.starts_with(id));
        match (matching.next(), matching.next()) {
            (Some((_, slot)), None) => Found::Known(Arc::clone(&slot.view)),
            _ => Found::Unknown,
        }
    }
}
