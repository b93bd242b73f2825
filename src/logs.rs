//! Container logs: follows the Engine's json-file logs and writes CRI's beside them.
//!
//! The Engine's files are the durable buffer: containers never wait for dockside, and a dockside that starts
//! goes on exactly where a CRI file ends. One thread with one inotify instance knows all containers' logs, and
//! one more copies them.

mod claim;
mod command;
mod follow;
mod hands;
mod render;
mod resume;
mod sink;
mod source;
mod watch;
mod worker;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use command::{Command, Mailbox, Then};
use sink::Sink;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long a caller waits for a log: longer only where a file system hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for the next log while one does not answer: many of them must not hold up a list.
const LESS_PATIENCE: Duration = Duration::from_secs(1);

/// The same for the one that does not.
const NO_PATIENCE: Duration = Duration::from_millis(100);

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
    mailbox: Arc<Mailbox>,
    known: Mutex<Known>,
    ended: CancellationToken,
}

#[derive(Default)]
struct Known {
    /// Containers whose logs are being followed, and since when.
    followed: HashMap<String, Instant>,
    /// Containers that have exited and whose logs are complete.
    complete: HashSet<String>,
    /// Containers whose logs were not copied in time.
    stalled: HashSet<String>,
}

impl Logs {
    /// Starts the threads.
    pub fn start() -> io::Result<Arc<Self>> {
        let ended = CancellationToken::new();
        Ok(Arc::new(Self {
            mailbox: worker::start(&ended)?,
            known: Mutex::default(),
            ended,
        }))
    }

    /// Cancelled when logs are not copied any more, by a fault of this process: only another one can go on with them.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Makes an empty CRI log, and its directory, unless they are there, and follows the container's.
    ///
    /// To be called before a container is started: others on the same Engine look at those only that run, so
    /// whoever starts a container writes its log.
    pub async fn prepare(&self, id: &str, spec: LogSpec) -> io::Result<()> {
        let mut sink = Sink::new(spec.directory.clone(), spec.path.clone());
        in_time(async { tokio::task::spawn_blocking(move || sink.prepare()).await? }).await?;
        self.follow(id, || Some(spec));
        self.copy(id, Then::Stay).await;
        Ok(())
    }

    /// Follows a container's log from where its CRI log ends. A container that is followed already stays so,
    /// and one whose log was complete runs again.
    pub fn follow(&self, id: &str, spec: impl FnOnce() -> Option<LogSpec>) {
        let mut known = self.known();
        if known.followed.contains_key(id) {
            return;
        }
        let Some(spec) = spec() else { return };
        known.complete.remove(id);
        known.followed.insert(id.to_owned(), Instant::now());
        self.mailbox.send(Command::Follow {
            id: id.to_owned(),
            spec,
        });
    }

    /// Returns when all output of a container that has exited is in its CRI log, and stops to follow it.
    ///
    /// Where the log cannot be written now, the thread goes on trying.
    pub async fn complete(&self, id: &str, spec: impl FnOnce() -> Option<LogSpec>) {
        if self.is_complete(id) {
            return;
        }
        self.follow(id, spec);
        if self.is_followed(id) && self.copy(id, Then::End).await {
            let mut known = self.known();
            known.followed.remove(id);
            known.complete.insert(id.to_owned());
        }
    }

    /// Returns when the output that a container has made by now is in its CRI log, before its removal.
    pub async fn catch_up(&self, id: &str, spec: impl FnOnce() -> Option<LogSpec>) {
        if !self.is_complete(id) {
            self.follow(id, spec);
            self.copy(id, Then::Stay).await;
        }
    }

    /// Writes what is left of a container that was removed, and forgets it.
    pub async fn forget(&self, id: &str) {
        let followed = {
            let mut known = self.known();
            known.complete.remove(id);
            known.stalled.remove(id);
            known.followed.remove(id)
        };
        if followed.is_some() {
            self.copy(id, Then::Forget).await;
        }
    }

    /// Has all copied that the Engine has written by now; returns whether that was done, and in time.
    async fn copy(&self, id: &str, then: Then) -> bool {
        let patience = {
            let stalled = &self.known().stalled;
            match (stalled.contains(id), stalled.is_empty()) {
                (true, _) => NO_PATIENCE,
                (false, false) => LESS_PATIENCE,
                (false, true) => PATIENCE,
            }
        };
        let asked = self.mailbox.ask(|reply| Command::Copy {
            id: id.to_owned(),
            then,
            reply: Some(reply),
        });
        let answer = tokio::time::timeout(patience, asked).await;
        if answer.is_ok() {
            self.known().stalled.remove(id);
        } else if self.known().stalled.insert(id.to_owned()) {
            warn!(id, "a log is not copied in time: does its file system answer?");
        }
        matches!(answer, Ok(Ok(())))
    }

    /// Whether a container has exited and all its output is in its CRI log.
    pub fn is_complete(&self, id: &str) -> bool {
        self.known().complete.contains(id)
    }

    /// Whether a container's log is being followed.
    pub fn is_followed(&self, id: &str) -> bool {
        self.known().followed.contains_key(id)
    }

    /// Forgets the containers that were not `alive` when the Engine was `asked`.
    pub fn retain(&self, asked: Instant, alive: impl Fn(&str) -> bool) {
        let mut known = self.known();
        known.complete.retain(|id| alive(id));
        known.stalled.retain(|id| alive(id));
        let gone = |id: &String, since: &mut Instant| *since < asked && !alive(id);
        for (id, _) in known.followed.extract_if(gone) {
            self.mailbox.send(Command::Copy {
                id,
                then: Then::Forget,
                reply: None,
            });
        }
    }

    /// Goes on in a new file at the CRI log's path. The old one, which was renamed, gets no more lines.
    pub async fn reopen(&self, id: &str) -> io::Result<()> {
        // Done later after all, it only makes a file that the kubelet asks for again.
        in_time(self.mailbox.ask(|reply| Command::Reopen {
            id: id.to_owned(),
            reply,
        }))
        .await
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn in_time(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        let why = format!("its file system does not answer within {} s", PATIENCE.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}
