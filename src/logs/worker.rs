//! The one thread that copies all logs.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tracing::{error, warn};

use super::{
    command::{Command, Inbox, Mailbox, Reply, mailbox},
    follow::{BUFFER, Follow, Step},
    sink::Sink,
};

/// After a change, how long more of them are waited for: many lines then take one write, and none is late.
const GATHER: Duration = Duration::from_millis(5);

/// How long a log that could not be read or written is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// The least time between two complaints about the same log.
const COMPLAIN: Duration = Duration::from_secs(30);

/// Steps of one log before the others have their turn.
const TURN: usize = 8;

struct Log {
    follow: Follow,
    watch: Option<WatchDescriptor>,
    /// When it may be tried again after an error.
    retry: Option<Instant>,
    complained: Option<Instant>,
}

struct Worker {
    inbox: Inbox,
    inotify: Inotify,
    logs: HashMap<String, Log>,
    watched: HashMap<WatchDescriptor, String>,
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
        inotify: Inotify::init()?,
        logs: HashMap::new(),
        watched: HashMap::new(),
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
            while let Some(command) = self.inbox.next() {
                self.obey(command);
            }
            if changed {
                thread::sleep(GATHER);
                self.note_changes()?;
            }
            let now = Instant::now();
            let due = self
                .logs
                .iter()
                .filter(|(_, log)| log.retry.is_some_and(|when| when <= now));
            self.ready.extend(due.map(|(id, _)| id.clone()));
            for id in std::mem::take(&mut self.ready) {
                self.turn(&id);
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
            PollFd::from_borrowed_fd(self.inotify.as_fd(), PollFlags::IN),
        ];
        match poll(&mut descriptors, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(descriptors[1].revents().contains(PollFlags::IN)),
            Err(error) => Err(error.into()),
        }
    }

    fn note_changes(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let events = match self.inotify.read_events(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                other => other?,
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    self.ready.extend(self.logs.keys().cloned());
                    continue;
                }
                let Some(id) = self.watched.get(&event.wd) else {
                    continue;
                };
                let moved = event.mask.contains(EventMask::MOVED_TO);
                if moved
                    && event
                        .name
                        .is_some_and(|name| name.as_encoded_bytes().ends_with(b"-json.log.1"))
                    && let Some(log) = self.logs.get_mut(id)
                {
                    log.follow.rotated();
                }
                self.ready.insert(id.clone());
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Prepare { spec, reply } => {
                answer(reply, Sink::new(spec.directory, spec.path).prepare());
            }
            Command::Follow { id, spec } => {
                let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO;
                let directory = spec.source.parent().unwrap_or(&spec.source);
                let watch = match self.inotify.watches().add(directory, mask) {
                    Ok(watch) => {
                        self.watched.insert(watch.clone(), id.clone());
                        Some(watch)
                    }
                    Err(failure) => {
                        warn!(id, "cannot watch {}: {failure}", directory.display());
                        None
                    }
                };
                // Without a watch it is looked at again and again.
                let retry = watch.is_none().then(|| Instant::now() + RETRY);
                let follow = Follow::new(spec);
                self.logs.insert(
                    id.clone(),
                    Log {
                        follow,
                        watch,
                        retry,
                        complained: None,
                    },
                );
                self.ready.insert(id);
            }
            Command::Finish { id, reply } => {
                let finished = self.copy(&id, usize::MAX);
                if finished.is_ok() {
                    self.forget(&id);
                }
                answer(reply, finished.map(drop));
            }
            Command::Forget { id, reply } => {
                // The file is open still, though the Engine has removed it.
                let copied = self.copy(&id, usize::MAX).map(drop);
                self.forget(&id);
                if let Some(reply) = reply {
                    answer(reply, copied);
                }
            }
            Command::Reopen { id, reply } => {
                let reopened = match self.logs.get_mut(&id) {
                    Some(log) => log.follow.sink.reopen(),
                    None => Err(io::Error::other("the container's log is not being written")),
                };
                answer(reply, reopened);
            }
        }
    }

    fn turn(&mut self, id: &str) {
        match self.copy(id, TURN) {
            Ok(Step::More) => {
                self.ready.insert(id.to_owned());
            }
            Ok(Step::Done) | Err(_) => {}
        }
    }

    /// Copies until all is copied, or `steps` were made.
    fn copy(&mut self, id: &str, steps: usize) -> io::Result<Step> {
        let Some(log) = self.logs.get_mut(id) else {
            return Ok(Step::Done);
        };
        for _ in 0..steps {
            match log.follow.step(&mut self.buffer, &mut self.lines) {
                Ok(Step::Done) => {
                    log.retry = log.watch.is_none().then(|| Instant::now() + RETRY);
                    return Ok(Step::Done);
                }
                Ok(Step::More) => {}
                Err(failure) => {
                    let now = Instant::now();
                    log.retry = Some(now + RETRY);
                    if log.complained.is_none_or(|when| now - when >= COMPLAIN) {
                        log.complained = Some(now);
                        warn!(
                            id,
                            log = log.follow.sink.describe(),
                            "cannot copy the container's log: {failure}"
                        );
                    }
                    return Err(failure);
                }
            }
        }
        Ok(Step::More)
    }

    fn forget(&mut self, id: &str) {
        self.ready.remove(id);
        let Some(log) = self.logs.remove(id) else { return };
        if let Some(watch) = log.watch {
            self.watched.remove(&watch);
            // Gone already where the directory is.
            let _ = self.inotify.watches().remove(watch);
        }
    }
}

fn answer(reply: Reply, result: io::Result<()>) {
    // A caller that does not wait any more needs no answer.
    let _ = reply.send(result);
}
