//! Keeps in force what was written into containers' cgroups behind the Engine.
//!
//! Others write there too: systemd sets all it knows of a unit again at each `daemon-reload`, where the Engine's cgroup
//! driver is systemd's, and the OCI runtime does at each update. So the files are watched, and written again as
//! soon as they say something else. What happens while no dockside is there is made good at the next start.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_stream::StreamExt;
use tracing::warn;
use translate::resources::AfterStart;

use super::{
    score,
    values::{Place, Released, Values},
};

/// Between two looks at what was changed: somebody else who keeps other values may not keep this process busy.
const PAUSE: Duration = Duration::from_millis(100);

/// The values of all containers.
#[derive(Clone)]
pub struct Keeper {
    watches: Watches,
    containers: Arc<Mutex<Containers>>,
}

#[derive(Default)]
struct Containers {
    known: HashMap<String, Known>,
    watched: HashMap<WatchDescriptor, String>,
    /// Those that are being looked at, and whether something has changed since.
    looked_at: HashMap<String, bool>,
    /// How many may be known before it is looked which of them are gone: the kernel does not tell.
    enough: usize,
}

#[derive(Default)]
struct Known {
    values: Arc<AsyncMutex<Values>>,
    directory: Option<PathBuf>,
    watches: HashSet<WatchDescriptor>,
}

/// The values of one container, which nobody else looks after meanwhile.
pub struct Held {
    keeper: Keeper,
    id: String,
    pid: i32,
    values: OwnedMutexGuard<Values>,
}

impl Keeper {
    /// Begins to watch.
    pub fn start() -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let keeper = Self {
            watches: inotify.watches(),
            containers: Arc::default(),
        };
        let events = inotify.into_event_stream(vec![0; 4096])?;
        tokio::spawn(keeper.clone().watch(events));
        Ok(keeper)
    }

    /// Takes the values of a container, whose first process is `pid`, to change them.
    pub async fn hold(&self, id: &str, pid: i32) -> Held {
        self.take(id).await.load(pid)
    }

    /// Goes on with a container that an earlier dockside has started; `after` is what was to be written then.
    pub async fn resume(&self, id: &str, pid: i32, after: &AfterStart) {
        let held = self.take(id).await;
        if held.values.is_loaded() {
            // A call was here before.
            return;
        }
        let held = held.load(pid);
        // An earlier dockside that was killed in between has noted nothing.
        let nothing = AfterStart::default();
        let after = if held.values.is_noted() { &nothing } else { after };
        for error in held.apply(after).await {
            warn!(id, "{error}");
        }
    }

    async fn take(&self, id: &str) -> Held {
        let values = {
            let mut containers = self.containers();
            self.sweep(&mut containers);
            Arc::clone(&containers.known.entry(id.to_owned()).or_default().values)
        };
        Held {
            keeper: self.clone(),
            id: id.to_owned(),
            pid: 0,
            values: values.lock_owned().await,
        }
    }

    async fn watch(self, mut events: EventStream<Vec<u8>>) {
        while let Some(event) = events.next().await {
            let ids: Vec<_> = match event {
                // Events were lost.
                Ok(event) if event.mask.contains(EventMask::Q_OVERFLOW) => {
                    self.containers().known.keys().cloned().collect()
                }
                Ok(event) => self
                    .containers()
                    .watched
                    .get(&event.wd)
                    .cloned()
                    .into_iter()
                    .collect(),
                Err(error) => {
                    warn!("cannot read what was changed in cgroups: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            for id in ids {
                match self.containers().looked_at.entry(id) {
                    Entry::Occupied(mut again) => _ = again.insert(true),
                    Entry::Vacant(place) => {
                        tokio::spawn(self.clone().look_at(place.key().clone()));
                        place.insert(false);
                    }
                }
            }
        }
    }

    /// Looks at once, and again after a while for as long as something was changed meanwhile, which includes what
    /// was written here.
    async fn look_at(self, id: String) {
        loop {
            for error in self.take(&id).await.restore().await {
                warn!(id, "{error}");
            }
            tokio::time::sleep(PAUSE).await;
            let looked_at = &mut self.containers().looked_at;
            if looked_at.remove(&id) != Some(true) {
                return;
            }
            looked_at.insert(id.clone(), false);
        }
    }

    fn containers(&self) -> MutexGuard<'_, Containers> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the files of a container's values, and no others of it.
    fn arm(&self, id: &str, directory: PathBuf, values: &Values) {
        let mut watches = self.watches.clone();
        let mut wanted = HashSet::new();
        for path in values.paths() {
            match watches.add(path, WatchMask::MODIFY) {
                Ok(watch) => _ = wanted.insert(watch),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => warn!(id, "cannot watch {}: {error}", path.display()),
            }
        }
        let mut containers = self.containers();
        let containers = &mut *containers;
        for watch in &wanted {
            containers.watched.insert(watch.clone(), id.to_owned());
        }
        let known = containers.known.entry(id.to_owned()).or_default();
        let unwanted: Vec<_> = known.watches.difference(&wanted).cloned().collect();
        known.watches = wanted;
        known.directory = Some(directory);
        for watch in unwanted {
            containers.watched.remove(&watch);
            let _ = watches.remove(watch);
        }
    }

    /// Forgets containers whose cgroup is gone, each time that twice as many are known as were left.
    fn sweep(&self, containers: &mut Containers) {
        if containers.known.len() < containers.enough {
            return;
        }
        let is_gone = |known: &mut Known| {
            let unused = Arc::strong_count(&known.values) == 1;
            unused
                && known
                    .directory
                    .as_ref()
                    .is_none_or(|directory| !directory.exists())
        };
        let mut watches = self.watches.clone();
        let gone: Vec<_> = containers.known.extract_if(|_, known| is_gone(known)).collect();
        for watch in gone.into_iter().flat_map(|(_, known)| known.watches) {
            containers.watched.remove(&watch);
            let _ = watches.remove(watch);
        }
        containers.enough = 2 * containers.known.len() + 16;
    }
}

impl Held {
    /// Learns what was written before.
    fn load(mut self, pid: i32) -> Self {
        self.pid = pid;
        if let Ok(place) = Place::of(&self.id, pid) {
            self.values.load(&place);
        }
        self
    }

    /// Leaves these files to others: to the Engine, before it is asked to change them.
    pub fn release(&mut self, files: &[&str]) -> Released {
        self.values.release(files)
    }

    /// Keeps what was released after all.
    pub fn take_back(&mut self, released: Released) {
        self.values.take_back(released);
    }

    /// Writes what is to be written for the container, and what was written before where it is not in force. Returns
    /// what failed.
    pub async fn apply(self, after: &AfterStart) -> Vec<String> {
        let after = after.clone();
        self.blocking(move |this| {
            let nothing = after.writes.is_empty() && !this.values.is_noted();
            if this.pid == 0 || (nothing && after.oom_score_adj.is_none()) {
                return Vec::new();
            }
            let place = match Place::of(&this.id, this.pid) {
                Ok(place) => place,
                Err(error) => return vec![error],
            };
            let mut failures = Vec::new();
            if let Some(value) = after.oom_score_adj {
                failures.extend(score(this.pid, value).err());
            }
            if nothing {
                return failures;
            }
            failures.extend(this.values.write(&place, &after.writes));
            if let Some(directory) = place.noted() {
                this.keeper.arm(&this.id, directory, &this.values);
            }
            failures
        })
        .await
    }

    /// Writes again what is not in force. Returns what failed.
    pub async fn restore(self) -> Vec<String> {
        self.blocking(|this| this.values.restore_noted()).await
    }

    /// A write to a cgroup may last until memory has been freed.
    async fn blocking(mut self, work: impl FnOnce(&mut Self) -> Vec<String> + Send + 'static) -> Vec<String> {
        let done = tokio::task::spawn_blocking(move || work(&mut self)).await;
        done.unwrap_or_else(|error| vec![error.to_string()])
    }
}
