//! The threads that read and write log files.
//!
//! A file system may hang, and with it every thread that touches it. So the thread that everybody talks to
//! touches none: it hands logs out to be copied and gets them back. One hand does all the work as long as it
//! is back within a second; otherwise another one is taken on. No two work on one file system, so one that
//! hangs holds one hand and the logs on it, and nobody else.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use inotify::WatchDescriptor;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    command::{Command, Mailbox, Reply, answer},
    follow::{BUFFER, Follow, Step, taken},
    watch::Watcher,
};

/// How long a hand may be at one log before another one is taken on for the others.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// The most hands: as many file systems may hang, less one.
const MOST: usize = 16;

/// Steps of one log before the others have their turn.
const TURN: usize = 8;

/// A log that is to be copied for a while.
pub(super) struct Job {
    pub(super) id: String,
    pub(super) follow: Box<Follow>,
    pub(super) watch: Option<WatchDescriptor>,
    /// Who wants it to go on in a new file first.
    pub(super) reopens: Vec<Reply>,
    /// Who waits until all is copied.
    pub(super) waiting: Vec<Reply>,
}

/// A log that comes back.
pub(super) struct Back {
    pub(super) id: String,
    pub(super) follow: Box<Follow>,
    pub(super) copied: io::Result<Step>,
    /// How much was written.
    pub(super) bytes: usize,
    /// Who waits still.
    pub(super) waiting: Vec<Reply>,
}

/// The hands, as the thread that hands out sees them.
pub(super) struct Hands(Arc<Shared>);

struct Shared {
    work: Mutex<Work>,
    more: Condvar,
    watcher: Arc<Mutex<Watcher>>,
    mailbox: Arc<Mailbox>,
    /// For a hand that panics: the log that it had, and others on that file system, are lost with it.
    ended: CancellationToken,
}

#[derive(Default)]
struct Work {
    jobs: VecDeque<Job>,
    busy: Vec<Busy>,
    /// Hands that wait for a job: one at most.
    idle: usize,
    tickets: u64,
}

/// A hand at work.
struct Busy {
    ticket: u64,
    /// The file system of the CRI log, if that was opened before.
    device: Option<u64>,
    since: Instant,
}

impl Work {
    /// Where the next job is that is on no file system that another hand is at.
    fn place(&self) -> Option<usize> {
        let is_free = |job: &Job| {
            let device = job.follow.device();
            device.is_none() || self.busy.iter().all(|busy| busy.device != device)
        };
        self.jobs.iter().position(is_free)
    }

    /// The next job.
    fn next(&mut self) -> Option<(Job, u64)> {
        let job = self.place().and_then(|at| self.jobs.remove(at))?;
        self.tickets += 1;
        self.busy.push(Busy {
            ticket: self.tickets,
            device: job.follow.device(),
            since: Instant::now(),
        });
        Some((job, self.tickets))
    }
}

impl Hands {
    /// Takes on the first one. Logs come back through `mailbox`.
    pub(super) fn start(
        watcher: Arc<Mutex<Watcher>>,
        mailbox: Arc<Mailbox>,
        ended: CancellationToken,
    ) -> io::Result<Self> {
        let hands = Self(Arc::new(Shared {
            work: Mutex::default(),
            more: Condvar::new(),
            watcher,
            mailbox,
            ended,
        }));
        hands.take_on()?;
        Ok(hands)
    }

    /// Has a log copied; before others if somebody waits for it.
    pub(super) fn give(&self, job: Job) {
        let mut work = self.0.work();
        if job.waiting.is_empty() && job.reopens.is_empty() {
            work.jobs.push_back(job);
        } else {
            work.jobs.push_front(job);
        }
        let is_awaited = work.idle > 0;
        drop(work);
        if is_awaited {
            self.0.more.notify_one();
        }
    }

    /// Takes on another hand if all are slow. To be called now and then while logs are out.
    pub(super) fn look_after(&self) {
        let work = self.0.work();
        let slow = |busy: &Busy| busy.since.elapsed() >= SLOW;
        if work.jobs.is_empty() || work.idle > 0 || work.busy.len() >= MOST || !work.busy.iter().all(slow) {
            return;
        }
        drop(work);
        if let Err(error) = self.take_on() {
            warn!("cannot start another thread to copy container logs: {error}");
        }
    }

    fn take_on(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        thread::Builder::new().name("logs-copy".into()).spawn(move || {
            let ended = shared.ended.clone().drop_guard();
            shared.run();
            ended.disarm();
        })?;
        Ok(())
    }
}

impl Shared {
    /// Copies one log after the other. Ends when there is nothing to do and somebody else waits already.
    fn run(&self) {
        let (mut buffer, mut lines) = (vec![0; BUFFER], Vec::with_capacity(BUFFER));
        while let Some((mut job, ticket)) = self.wait() {
            if !job.reopens.is_empty() {
                let reopened = job.follow.reopen();
                answer(job.reopens.drain(..), &reopened);
            }
            let mut counter = || lock(&self.watcher).rotations(job.watch.as_ref());
            let (mut copied, mut bytes) = (Ok(Step::More), 0);
            for _ in 0..TURN {
                copied = job.follow.step(&mut buffer, &mut lines, &mut counter);
                if !matches!(copied, Ok(Step::More)) {
                    break;
                }
                bytes += lines.len();
            }
            let is_last = self.done(ticket);
            let result = match &copied {
                Ok(Step::More) => None,
                Ok(Step::Done) => Some(Ok(())),
                Ok(Step::Taken) => Some(Err(taken())),
                Err(error) => Some(Err(io::Error::new(error.kind(), error.to_string()))),
            };
            let waited = result.as_ref().map(|_| std::mem::take(&mut job.waiting));
            // First home, then the answer: what is asked next finds the log there.
            self.mailbox.put(Command::Back(Back {
                id: job.id,
                follow: job.follow,
                copied,
                bytes,
                waiting: job.waiting,
            }));
            if let (Some(waited), Some(result)) = (waited, result) {
                answer(waited, &result);
            }
            // Many logs come home together. If the next one holds this hand, they are looked for after a while.
            if is_last {
                self.mailbox.ring();
            }
        }
    }

    /// Notes that a hand is done with a job; returns whether there is no other for it.
    fn done(&self, ticket: u64) -> bool {
        let mut work = self.work();
        work.busy.retain(|busy| busy.ticket != ticket);
        work.place().is_none()
    }

    fn wait(&self) -> Option<(Job, u64)> {
        let mut work = self.work();
        loop {
            if let Some(next) = work.next() {
                return Some(next);
            }
            if work.idle > 0 {
                return None;
            }
            work.idle += 1;
            work = self.more.wait(work).unwrap_or_else(PoisonError::into_inner);
            work.idle -= 1;
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        lock(&self.work)
    }
}

/// A panic elsewhere leaves nothing half done that these locks guard.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
