//! One inotify instance that says which of the Engine's logs have changed and how often each was rotated.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

use super::source::Rotations;

/// How the name of the generation before the current one ends.
const OLDER: &[u8] = b"-json.log.1";

/// What is always watched for.
const ROTATIONS: WatchMask = WatchMask::CREATE.union(WatchMask::MOVED_TO);

pub(super) struct Watcher {
    inotify: Inotify,
    watched: HashMap<WatchDescriptor, Watched>,
    changed: HashSet<String>,
    /// How often events were lost: then no count is certain.
    lapses: u64,
}

struct Watched {
    id: String,
    rotations: i64,
}

impl Watcher {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::init()?,
            watched: HashMap::new(),
            changed: HashSet::new(),
            lapses: 0,
        })
    }

    /// What becomes readable when something has changed.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches the directory of a container's log.
    pub(super) fn add(&mut self, id: &str, directory: &Path) -> io::Result<WatchDescriptor> {
        let watch = self
            .inotify
            .watches()
            .add(directory, ROTATIONS | WatchMask::MODIFY)?;
        let watched = Watched {
            id: id.to_owned(),
            rotations: 0,
        };
        self.watched.insert(watch.clone(), watched);
        Ok(watch)
    }

    /// Has each line reported, or rotations only: a report costs the Engine half as much as the line.
    pub(super) fn report_lines(&self, directory: &Path, wanted: bool) -> io::Result<()> {
        let lines = if wanted {
            WatchMask::MODIFY
        } else {
            WatchMask::empty()
        };
        // A directory is watched once, and rotations are counted on.
        self.inotify.watches().add(directory, ROTATIONS | lines)?;
        Ok(())
    }

    pub(super) fn remove(&mut self, watch: WatchDescriptor) {
        if self.watched.remove(&watch).is_some() {
            // Gone already where the directory is.
            let _ = self.inotify.watches().remove(watch);
        }
    }

    /// Whether a watch is in force. The kernel ends it when the directory goes.
    pub(super) fn has(&self, watch: &WatchDescriptor) -> bool {
        self.watched.contains_key(watch)
    }

    /// The containers whose logs have changed since the last question.
    pub(super) fn changed(&mut self) -> io::Result<HashSet<String>> {
        self.read()?;
        Ok(std::mem::take(&mut self.changed))
    }

    /// How often a log was rotated since it is watched, up to this moment.
    pub(super) fn rotations(&mut self, watch: Option<&WatchDescriptor>) -> Rotations {
        let read = self.read();
        let watched = watch.and_then(|watch| self.watched.get(watch));
        if read.is_err() || watched.is_none() {
            // Unknown: never the same lapse twice, so nobody takes two such answers for a count.
            self.lapses += 1;
        }
        Rotations {
            count: watched.map_or(0, |watched| watched.rotations),
            lapses: self.lapses,
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let events = match self.inotify.read_events(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    self.lapses += 1;
                    self.changed
                        .extend(self.watched.values().map(|watched| watched.id.clone()));
                    continue;
                }
                let Some(watched) = self.watched.get_mut(&event.wd) else {
                    continue;
                };
                let is_older = |name: &std::ffi::OsStr| name.as_encoded_bytes().ends_with(OLDER);
                if event.mask.contains(EventMask::MOVED_TO) && event.name.is_some_and(is_older) {
                    watched.rotations += 1;
                }
                if !self.changed.contains(&watched.id) {
                    self.changed.insert(watched.id.clone());
                }
                if event.mask.contains(EventMask::IGNORED) {
                    self.watched.remove(&event.wd);
                }
            }
        }
    }
}
