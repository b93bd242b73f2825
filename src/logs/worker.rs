//! The one thread that copies all logs.

use std::{
    collections::{HashMap, HashSet},
    io, thread,
    time::{Duration, Instant},
};

use inotify::WatchDescriptor;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tracing::{error, warn};

use super::{
    command::{Command, Inbox, Mailbox, Reply, Then, mailbox},
    follow::{BUFFER, Follow, Step},
    watch::Watcher,
};

/// After a change, how long more of them are waited for: many lines then take one write, and none is late.
const GATHER: Duration = Duration::from_millis(5);

/// How long a log that could not be read, written or watched is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// The least time between two complaints about the same log.
const COMPLAIN: Duration = Duration::from_secs(30);

/// Steps of one log before the others have their turn.
const TURN: usize = 8;

struct Log {
    follow: Follow,
    watch: Option<WatchDescriptor>,
    /// When it is tried again after an error.
    retry: Option<Instant>,
    complained: Option<Instant>,
    /// Who waits until all is copied.
    waiting: Vec<Reply>,
    then: Then,
}

struct Worker {
    inbox: Inbox,
    watcher: Watcher,
    logs: HashMap<String, Log>,
    /// Logs that may have something to copy.
    ready: HashSet<String>,
    buffer: Vec<u8>,
    lines: Vec<u8>,
}

/// Starts the thread.
pub(super) fn start() -> io::Result<Mailbox> {
    let (mailbox, inbox) = mailbox()?;
    let mut worker = Worker {
        inbox,
        watcher: Watcher::new()?,
        logs: HashMap::new(),
        ready: HashSet::new(),
        buffer: vec![0; BUFFER],
        lines: Vec::with_capacity(BUFFER),
    };
    thread::Builder::new().name("logs".into()).spawn(move || {
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
            self.obey_all();
            if changed {
                if self.ready.is_empty() {
                    thread::sleep(GATHER);
                    self.obey_all();
                }
                let changed = self.watcher.changed()?;
                self.ready.extend(changed);
            }
            let now = Instant::now();
            let is_due = |log: &Log| log.retry.is_some_and(|when| when <= now);
            let due = self.logs.iter().filter(|(_, log)| is_due(log));
            self.ready.extend(due.map(|(id, _)| id.clone()));
            for id in std::mem::take(&mut self.ready) {
                self.turn(&id);
                // A caller does not wait for the logs of others.
                self.obey_all();
            }
        }
    }

    /// Waits for a command or a change; returns whether something changed.
    fn wait(&self) -> io::Result<bool> {
        let next = self.logs.values().filter_map(|log| log.retry).min();
        let limit = if self.ready.is_empty() {
            next.map(|when| when.saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut descriptors = [
            PollFd::from_borrowed_fd(self.inbox.bell(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.watcher.bell(), PollFlags::IN),
        ];
        match poll(&mut descriptors, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(descriptors[1].revents().contains(PollFlags::IN)),
            Err(error) => Err(error.into()),
        }
    }

    fn obey_all(&mut self) {
        while let Some(command) = self.inbox.next() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Follow { id, spec } => {
                let mut log = Log {
                    follow: Follow::new(spec),
                    watch: None,
                    retry: None,
                    complained: None,
                    waiting: Vec::new(),
                    then: Then::Stay,
                };
                if let Err(failure) = watch(&mut self.watcher, &id, &mut log) {
                    let directory = log.follow.directory().display();
                    warn!(
                        id,
                        "cannot watch {directory}, looking at it every second: {failure}"
                    );
                }
                if let Some(Log { watch: Some(old), .. }) = self.logs.insert(id.clone(), log)
                    && self
                        .logs
                        .get(&id)
                        .is_none_or(|log| log.watch.as_ref() != Some(&old))
                {
                    self.watcher.remove(old);
                }
                self.ready.insert(id);
            }
            Command::Copy { id, then, reply } => match self.logs.get_mut(&id) {
                Some(log) => {
                    log.waiting.extend(reply);
                    log.then = log.then.max(then);
                    self.ready.insert(id);
                }
                None => answer(reply, Ok(())),
            },
            Command::Reopen { id, reply } => {
                let reopened = match self.logs.get_mut(&id) {
                    Some(log) => log.follow.reopen(),
                    None => Err(io::Error::other("the container's log is not being written")),
                };
                answer([reply], reopened);
            }
        }
    }

    /// Copies for a while, and tells those who wait if that is the end.
    fn turn(&mut self, id: &str) {
        let Some(log) = self.logs.get_mut(id) else { return };
        if log.watch.as_ref().is_none_or(|watch| !self.watcher.has(watch)) {
            // Complained of at the first time only. The directory is gone, or there is no watch left.
            let _ = watch(&mut self.watcher, id, log);
        }
        log.retry = log.watch.is_none().then(|| Instant::now() + RETRY);
        let watch = log.watch.clone();
        let mut copied = Ok(Step::More);
        for _ in 0..TURN {
            let mut counter = || self.watcher.rotations(watch.as_ref());
            copied = log.follow.step(&mut self.buffer, &mut self.lines, &mut counter);
            if !matches!(copied, Ok(Step::More)) {
                break;
            }
        }
        let copied = match copied {
            Ok(Step::More) => {
                self.ready.insert(id.to_owned());
                return;
            }
            Ok(Step::Done) => Ok(()),
            Err(failure) => {
                let now = Instant::now();
                log.retry = Some(now + RETRY);
                if log.complained.is_none_or(|when| now - when >= COMPLAIN) {
                    log.complained = Some(now);
                    let log = log.follow.describe();
                    warn!(id, log, "cannot copy the container's log: {failure}");
                }
                Err(failure)
            }
        };
        let ends = match log.then {
            Then::Stay => false,
            Then::End => copied.is_ok(),
            Then::Forget => true,
        };
        answer(log.waiting.drain(..), copied);
        if ends
            && let Some(log) = self.logs.remove(id)
            && let Some(watch) = log.watch
        {
            self.watcher.remove(watch);
        }
    }
}

/// Watches a log's directory. Where that fails, it is looked at again and again.
fn watch(watcher: &mut Watcher, id: &str, log: &mut Log) -> io::Result<()> {
    log.watch = None;
    log.retry = Some(Instant::now() + RETRY);
    log.watch = Some(watcher.add(id, log.follow.directory())?);
    log.retry = None;
    Ok(())
}

fn answer(replies: impl IntoIterator<Item = Reply>, result: io::Result<()>) {
    for reply in replies {
        let result = match &result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // A caller that does not wait any more needs no answer.
        let _ = reply.send(result);
    }
}
