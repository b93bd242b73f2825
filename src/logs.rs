//! Container logs: follows the Engine's json-file logs and writes CRI's beside them.
//!
//! The Engine's files are the durable buffer: containers never wait for dockside, and a dockside that starts
//! goes on exactly where a CRI file ends. One thread with one inotify instance serves all containers.

mod command;
mod follow;
mod sink;
mod source;
mod worker;

use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use command::{Command, Mailbox};

/// A container's two logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    /// The Engine's json-file log.
    pub source: PathBuf,
    /// The pod's log directory, which the CRI log does not leave.
    pub directory: PathBuf,
    /// The CRI log below it.
    pub path: PathBuf,
}

/// The logs of all containers.
pub struct Logs {
    mailbox: Mailbox,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Containers whose logs are being followed.
    followed: HashSet<String>,
    /// Containers that have exited and whose logs are complete.
    complete: HashSet<String>,
}

impl Logs {
    /// Starts the thread.
    pub fn start() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            mailbox: worker::start()?,
            known: Mutex::default(),
        }))
    }

    /// Makes an empty CRI log, and its directory, unless they are there.
    pub async fn prepare(&self, spec: LogSpec) -> io::Result<()> {
        self.mailbox.ask(|reply| Command::Prepare { spec, reply }).await
    }

    /// Follows a container's log from where its CRI log ends. A container that is followed already stays so.
    pub fn follow(&self, id: &str, spec: impl FnOnce() -> Option<LogSpec>) {
        let mut known = self.known();
        if known.followed.contains(id) || known.complete.contains(id) {
            return;
        }
        let Some(spec) = spec() else { return };
        known.followed.insert(id.to_owned());
        self.mailbox.send(Command::Follow {
            id: id.to_owned(),
            spec,
        });
    }

    /// Returns when all output of a container that has exited is in its CRI log, and stops to follow it.
    ///
    /// Where the log cannot be written now, the thread goes on trying.
    pub async fn complete(&self, id: &str, spec: impl FnOnce() -> Option<LogSpec>) {
        if self.known().complete.contains(id) {
            return;
        }
        self.follow(id, spec);
        if !self.known().followed.contains(id) {
            return;
        }
        let written = self
            .mailbox
            .ask(|reply| Command::Finish {
                id: id.to_owned(),
                reply,
            })
            .await;
        let mut known = self.known();
        if written.is_ok() {
            known.followed.remove(id);
            known.complete.insert(id.to_owned());
        }
    }

    /// Writes what is left of a container that was removed, and forgets it.
    pub async fn forget(&self, id: &str) {
        let followed = {
            let mut known = self.known();
            known.complete.remove(id);
            known.followed.remove(id)
        };
        if followed {
            let _ = self
                .mailbox
                .ask(|reply| Command::Forget {
                    id: id.to_owned(),
                    reply: Some(reply),
                })
                .await;
        }
    }

    /// Whether a container has exited and all its output is in its CRI log.
    pub fn is_complete(&self, id: &str) -> bool {
        self.known().complete.contains(id)
    }

    /// Forgets the containers that are not `alive`.
    pub fn retain(&self, alive: impl Fn(&str) -> bool) {
        let mut known = self.known();
        known.complete.retain(|id| alive(id));
        let gone: Vec<_> = known.followed.iter().filter(|id| !alive(id)).cloned().collect();
        for id in gone {
            known.followed.remove(&id);
            self.mailbox.send(Command::Forget { id, reply: None });
        }
    }

    /// Goes on in a new file at the CRI log's path. The old one, which was renamed, gets no more lines.
    pub async fn reopen(&self, id: &str) -> io::Result<()> {
        self.mailbox
            .ask(|reply| Command::Reopen {
                id: id.to_owned(),
                reply,
            })
            .await
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
