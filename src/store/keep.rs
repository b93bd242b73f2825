//! Keeps the memory true: hears the Engine's events, inspects what they name, and compares now and then.
//!
//! An event says only that an id is to be looked at, so it does not matter if events come twice or in another order.
//! What is lost with a broken stream is looked at anew with all the rest.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info, warn};
use translate::{answer::Event, labels};

use super::{
    Store,
    index::{Index, Key, Seen},
    inspect::PARALLEL,
};
use crate::{
    clock,
    engine::{EngineError, EventStream},
    error::{Error, Result},
};

/// How far back the events go at first: the Engine answers a little before it listens.
const OVERLAP: i64 = 2_000_000_000;

/// How long changes are gathered while nobody waits for them: a start follows a create.
const GATHER: Duration = Duration::from_millis(200);

/// Between two attempts to hear events: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long after the first look the first comparison is made.
const FIRST_CHECK: Duration = Duration::from_secs(10);

impl Store {
    /// Keeps the memory, for ever. Returns at once where there is none.
    pub async fn keep(self: Arc<Self>) {
        let Some(index) = &self.index else { return };
        let refreshing = tokio::spawn(refresh(Arc::clone(&self), Arc::clone(index)));
        let mut pause = RETRY.0;
        let mut told = false;
        loop {
            let began = Instant::now();
            let Err(error) = self.follow(index).await;
            index.distrust();
            let heard = began.elapsed() > RETRY.1;
            if heard || !told {
                info!("the engine is asked for everything until its events are heard: {error}");
                told = true;
            }
            if heard {
                pause = RETRY.0;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
            if refreshing.is_finished() {
                return;
            }
        }
    }

    /// Hears events until they break off.
    async fn follow(&self, index: &Index) -> std::result::Result<Infallible, EngineError> {
        let since = clock::now() - OVERLAP;
        let events = self.engine.events(since).await?;
        index.listen();
        tokio::select! {
            ended = hear(index, events) => ended,
            failed = self.look_after(index) => failed,
        }
    }

    /// Looks at everything, and from then on compares.
    async fn look_after(&self, index: &Index) -> std::result::Result<Infallible, EngineError> {
        let asked = std::time::Instant::now();
        let entries = self.engine.list_containers(&[labels::TYPE.into()], None).await?;
        let alive: std::collections::HashSet<_> = entries.iter().map(|entry| entry.id.clone()).collect();
        self.logs.retain(asked, |id| alive.contains(id));
        let generation = index.mark_all(alive);
        index.attempted(generation).await;
        index.trust();
        debug!("events are heard, everything was looked at");
        let mut wait = FIRST_CHECK.min(self.check_interval);
        loop {
            sleep(wait).await;
            // The events go on, and with them what is remembered.
            if let Err(error) = self.check(index).await {
                warn!("cannot compare what is remembered with the engine, trying again later: {error}");
            }
            wait = self.check_interval;
        }
    }

    /// Looks at one object, and brings its log up to what is seen of it.
    async fn look_at(&self, id: &str, limit: &Semaphore) -> Result<Seen> {
        let inspected = {
            let _permit = limit.acquire().await;
            self.engine.inspect_container(id).await
        };
        let inspect = match inspected {
            Err(error) if error.is_not_found() => {
                self.logs.forget(id).await;
                self.forget_known(id);
                return Ok(Seen::Nothing);
            }
            other => other?,
        };
        self.see(inspect).await
    }
}

/// Reads events, and does nothing that takes time: the Engine drops events of a slow reader silently.
async fn hear(index: &Index, mut events: EventStream) -> std::result::Result<Infallible, EngineError> {
    while let Some(event) = events.next().await? {
        if let Some(key) = named(event) {
            index.mark(key);
        }
    }
    Err(EngineError::Malformed {
        action: "follow the engine's events".into(),
        why: "the engine has closed the stream".into(),
    })
}

/// What an event makes worth a look.
fn named(event: Event) -> Option<Key> {
    match (event.kind.as_str(), event.action.as_str()) {
        // A commit makes an image.
        ("image", _) | ("container", "commit") => Some(Key::Images),
        // Containers that are not Kubernetes' may be many.
        ("container", _) if event.actor.attributes.contains_key(labels::TYPE) => {
            Some(Key::Object(event.actor.id))
        }
        _ => None,
    }
}

/// Inspects what is marked, for ever.
async fn refresh(store: Arc<Store>, index: Arc<Index>) {
    let limit = Arc::new(Semaphore::new(PARALLEL));
    loop {
        for key in index.due() {
            let (store, index, limit) = (Arc::clone(&store), Arc::clone(&index), Arc::clone(&limit));
            tokio::spawn(async move { look(&store, &index, &limit, key).await });
        }
        let retry = index.next_retry();
        tokio::select! {
            () = index.work() => {}
            () = sleep_until(retry.unwrap_or_else(far).into()), if retry.is_some() => {}
        }
        if !index.is_urgent() {
            tokio::select! {
                () = sleep(GATHER) => {}
                () = index.urged() => {}
            }
        }
    }
}

/// Not needed: the branch is off then.
fn far() -> std::time::Instant {
    std::time::Instant::now() + RETRY.1
}

async fn look(store: &Store, index: &Index, limit: &Semaphore, key: Key) {
    let Some(ticket) = index.begin(key) else { return };
    let seen = match &ticket.key {
        Key::Object(id) => store.look_at(id, limit).await,
        Key::Images => store.look_at_images().await.map(Seen::Images),
    };
    match seen {
        Ok(seen) => index.apply(ticket, seen),
        Err(error) => {
            // One that cannot be reached is told of where its events end.
            let told = matches!(&error, Error::Engine(error) if error.is_away());
            if index.fail(&ticket) && !told {
                warn!("cannot look at what has changed, trying again: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use translate::answer::EventActor;

    use super::*;

    #[test]
    fn only_what_is_kubernetes_is_looked_at() {
        let event = |kind: &str, action: &str, label: &str| Event {
            kind: kind.into(),
            action: action.into(),
            actor: EventActor {
                id: "5a".into(),
                attributes: BTreeMap::from([(label.to_owned(), "container".to_owned())]),
            },
        };
        let ours = Some(Key::Object("5a".into()));
        assert_eq!(named(event("container", "start", labels::TYPE)), ours);
        assert_eq!(named(event("container", "start", "another")), None);
        assert_eq!(named(event("container", "commit", "another")), Some(Key::Images));
        assert_eq!(named(event("image", "untag", "")), Some(Key::Images));
        assert_eq!(named(event("network", "create", labels::TYPE)), None);
    }
}
