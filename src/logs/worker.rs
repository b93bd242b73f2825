//! The thread that knows all logs: it waits for changes and for callers, and hands logs out to be copied.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use inotify::WatchDescriptor;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    command::{Command, Inbox, Mailbox, Reply, Then, answer, mailbox},
    follow::{Follow, Step},
    hands::{Back, Hands, Job, SLOW, lock},
    watch::Watcher,
};
use crate::metrics;

/// After a change, how long more of them are waited for: many lines then take one write, and none is late.
const GATHER: Duration = Duration::from_millis(5);

/// A log that grows by so many bytes while changes are gathered is busy: it is looked at by the clock, which is
/// cheaper for the Engine and for dockside than to have each line reported.
const BUSY: usize = 4096;

/// How many times it is looked at in vain before its lines are reported again: about a second. Among many busy
/// containers each has to wait for its share of the processor, and is not quiet for that.
const LOOKS: u32 = 32;

/// How often busy logs are looked at: all of them together, since each time takes the processor from a container.
const LOOK: Duration = Duration::from_millis(30);

/// How long a log that could not be read, written or watched is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// The same for a log that another dockside writes: long enough for that one to be started again.
const RETRY_TAKEN: Duration = Duration::from_secs(10);

/// The least time between two complaints about the same thing.
const COMPLAIN: Duration = Duration::from_secs(30);

struct Log {
    /// Away while it is being copied.
    follow: Option<Box<Follow>>,
    watch: Option<WatchDescriptor>,
    /// How often it is looked at by the clock yet, should it stay quiet. Until then its lines are not reported.
    looks: u32,
    /// Until when it is left alone unless somebody asks, and when it is tried again.
    retry: Option<Instant>,
    complained: Option<Instant>,
    /// Who waits until all is copied.
    waiting: Vec<Reply>,
    /// Who wants it to go on in a new file.
    reopens: Vec<Reply>,
    then: Then,
}

impl Log {
    const fn is_busy(&self) -> bool {
        self.looks > 0
    }

    fn is_asked_for(&self) -> bool {
        !self.waiting.is_empty() || !self.reopens.is_empty()
    }
}

struct Worker {
    inbox: Inbox,
    hands: Hands,
    watcher: Arc<Mutex<Watcher>>,
    /// What becomes readable when something has changed.
    changes: OwnedFd,
    logs: HashMap<String, Log>,
    /// Logs that may have something to copy.
    ready: HashSet<String>,
    /// Until when changes are gathered.
    gathering: Option<Instant>,
    /// How many logs are out.
    out: usize,
    /// Since when busy logs are looked at.
    since: Instant,
    /// When it was last said that another dockside writes logs.
    complained: Option<Instant>,
}

/// Starts the thread. `ended` is cancelled when copying has ended, or a part of it, by an error or a panic.
pub(super) fn start(ended: &CancellationToken) -> io::Result<Arc<Mailbox>> {
    let (mailbox, inbox) = mailbox()?;
    let mailbox = Arc::new(mailbox);
    let watcher = Watcher::new()?;
    let changes = watcher.bell().try_clone_to_owned()?;
    let watcher = Arc::new(Mutex::new(watcher));
    let mut worker = Worker {
        inbox,
        hands: Hands::start(Arc::clone(&watcher), Arc::clone(&mailbox), ended.clone())?,
        watcher,
        changes,
        logs: HashMap::new(),
        ready: HashSet::new(),
        gathering: None,
        out: 0,
        since: Instant::now(),
        complained: None,
    };
    let ended = ended.clone().drop_guard();
    thread::Builder::new().name("logs".into()).spawn(move || {
        let _ended = ended;
        if let Err(failure) = worker.run() {
            error!("copying container logs ended: {failure}");
        }
    })?;
    Ok(mailbox)
}

impl Worker {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let changed = self.wait()?;
            self.inbox.heard();
            while let Some(command) = self.inbox.next() {
                self.obey(command);
            }
            let now = Instant::now();
            match self.gathering {
                None if changed => self.gathering = Some(now + GATHER),
                Some(until) if now < until => {}
                // A hand may have read events to count rotations, so there may be changes at any time.
                _ => {
                    self.gathering = None;
                    self.ready.extend(lock(&self.watcher).changed()?);
                }
            }
            let is_due = |log: &Log| log.retry.is_some_and(|when| when <= now);
            let due = self.logs.iter().filter(|(_, log)| is_due(log));
            self.ready.extend(due.map(|(id, _)| id.clone()));
            self.hand_out(now);
            if self.out > 0 {
                self.hands.look_after();
            }
        }
    }

    /// Waits for a command or a change; returns whether something has changed.
    fn wait(&self) -> io::Result<bool> {
        let at_home = self.logs.values().filter(|log| log.follow.is_some());
        let next = at_home.filter_map(|log| log.retry).chain(self.gathering).min();
        let mut limit = next.map(|when| when.saturating_duration_since(Instant::now()));
        if self.out > 0 {
            limit = Some(limit.map_or(SLOW, |limit| limit.min(SLOW)));
        }
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut descriptors = [
            PollFd::from_borrowed_fd(self.inbox.bell(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.changes.as_fd(), PollFlags::IN),
        ];
        let descriptors = if self.gathering.is_some() {
            &mut descriptors[..1]
        } else {
            &mut descriptors[..]
        };
        match poll(descriptors, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(descriptors
                .get(1)
                .is_some_and(|watcher| watcher.revents().contains(PollFlags::IN))),
            Err(error) => Err(error.into()),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Follow { id, spec } => {
                let log = self.logs.entry(id.clone()).or_insert_with(|| Log {
                    follow: Some(Box::new(Follow::new(spec))),
                    watch: None,
                    looks: 0,
                    retry: None,
                    complained: None,
                    waiting: Vec::new(),
                    reopens: Vec::new(),
                    then: Then::Stay,
                });
                log.then = Then::Stay;
                self.ready.insert(id);
            }
            Command::Copy { id, then, reply } => match self.logs.get_mut(&id) {
                Some(log) => {
                    log.waiting.extend(reply);
                    log.then = log.then.max(then);
                    self.ready.insert(id);
                }
                None => answer(reply, &Ok(())),
            },
            Command::Reopen { id, reply } => match self.logs.get_mut(&id) {
                Some(log) => {
                    log.reopens.push(reply);
                    self.ready.insert(id);
                }
                None => {
                    let why = io::Error::other("the container's log is not being written");
                    answer([reply], &Err(why));
                }
            },
            Command::Back(back) => self.back(back),
        }
    }

    /// Hands out the logs that are ready. One that is out stays ready until it is back.
    fn hand_out(&mut self, now: Instant) {
        let (logs, watcher, hands, out) = (&mut self.logs, &self.watcher, &self.hands, &mut self.out);
        self.ready.retain(|id| {
            let Some(log) = logs.get_mut(id) else { return false };
            if log.retry.is_some_and(|when| when > now) && !log.is_asked_for() {
                // It has its time.
                return false;
            }
            let Some(follow) = log.follow.take() else {
                return true;
            };
            watch(&mut lock(watcher), id, log, &follow);
            log.retry = None;
            *out += 1;
            hands.give(Job {
                id: id.clone(),
                follow,
                watch: log.watch.clone(),
                reopens: std::mem::take(&mut log.reopens),
                waiting: std::mem::take(&mut log.waiting),
            });
            false
        });
    }

    /// A log comes back.
    fn back(&mut self, back: Back) {
        self.out -= 1;
        let Some(log) = self.logs.get_mut(&back.id) else {
            return;
        };
        let now = Instant::now();
        log.retry = log.watch.is_none().then(|| now + RETRY);
        let was_busy = log.is_busy();
        log.looks = match log.watch {
            Some(_) => looks_left(log.looks, back.bytes),
            None => 0,
        };
        if log.is_busy() != was_busy {
            let reported = lock(&self.watcher).report_lines(back.follow.directory(), was_busy);
            if reported.is_err() || was_busy {
                // What came before it was reported again is looked for once more.
                self.ready.insert(back.id.clone());
            }
        }
        match &back.copied {
            Ok(Step::More) => {
                log.waiting.extend(back.waiting);
                log.follow = Some(back.follow);
                self.ready.insert(back.id);
                return;
            }
            Ok(Step::Done) if log.is_busy() => log.retry = Some(next_look(self.since, now)),
            Ok(Step::Done) => {}
            Ok(Step::Taken) => {
                log.retry = Some(now + RETRY_TAKEN);
                if let Some(watch) = log.watch.take() {
                    lock(&self.watcher).remove(watch);
                }
                if is_time(&mut self.complained, now) {
                    warn!(
                        id = back.id,
                        "another dockside works with the same engine and writes the logs of this and perhaps of \
                         other containers; this one will when that one ends"
                    );
                }
            }
            Err(failure) => {
                metrics::log_failed();
                log.retry = Some(now + RETRY);
                if is_time(&mut log.complained, now) {
                    let log = back.follow.describe();
                    warn!(
                        id = back.id,
                        log, "cannot copy a log, trying again every second: {failure}"
                    );
                }
            }
        }
        if matches!(back.copied, Ok(Step::Done)) && log.complained.take().is_some() {
            let log = back.follow.describe();
            info!(id = back.id, log, "the log is copied again");
        }
        log.follow = Some(back.follow);
        // Whoever has asked meanwhile is answered first.
        let is_over = match log.then {
            Then::Stay => false,
            Then::End => matches!(back.copied, Ok(Step::Done)),
            Then::Forget => true,
        };
        if is_over
            && log.waiting.is_empty()
            && log.reopens.is_empty()
            && !self.ready.contains(&back.id)
            && let Some(Log {
                watch: Some(watch), ..
            }) = self.logs.remove(&back.id)
        {
            lock(&self.watcher).remove(watch);
        }
    }
}

/// Watches a log's directory. Where that fails, it is looked at again and again.
fn watch(watcher: &mut Watcher, id: &str, log: &mut Log, follow: &Follow) {
    if log.watch.as_ref().is_some_and(|watch| watcher.has(watch)) {
        return;
    }
    log.looks = 0;
    log.watch = match watcher.add(id, follow.directory()) {
        Ok(watch) => Some(watch),
        // It is not there before the container is, and gone with it.
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => None,
        Err(failure) => {
            if is_time(&mut log.complained, Instant::now()) {
                let directory = follow.directory().display();
                warn!(
                    id,
                    "cannot watch {directory}, looking at it every second: {failure}"
                );
            }
            None
        }
    };
}

/// How often a log is looked at by the clock yet, after a look that found `bytes` bytes.
const fn looks_left(before: u32, bytes: usize) -> u32 {
    if bytes >= BUSY {
        LOOKS
    } else {
        before.saturating_sub(1)
    }
}

/// When busy logs are looked at next.
fn next_look(since: Instant, now: Instant) -> Instant {
    let into = (now - since).as_nanos() % LOOK.as_nanos();
    now + LOOK - Duration::from_nanos(u64::try_from(into).unwrap_or(0))
}

/// Whether it is time to complain again; then it is noted.
fn is_time(complained: &mut Option<Instant>, now: Instant) -> bool {
    let is_time = complained.is_none_or(|when| now - when >= COMPLAIN);
    if is_time {
        *complained = Some(now);
    }
    is_time
}

#[cfg(test)]
#[path = "worker/tests.rs"]
mod tests;
