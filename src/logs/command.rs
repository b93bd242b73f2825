//! What the thread is told.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

use super::{LogSpec, hands::Back};

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<io::Result<()>>;

pub(super) enum Command {
    Follow {
        id: String,
        spec: LogSpec,
    },
    /// Answers when all that the Engine has written by now is copied, or that has failed.
    Copy {
        id: String,
        then: Then,
        reply: Option<Reply>,
    },
    Reopen {
        id: String,
        reply: Reply,
    },
    /// A log was copied for a while.
    Back(Back),
}

/// What becomes of a log that is all copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Then {
    /// It is followed on.
    Stay,
    /// It is forgotten; not if the copy has failed.
    End,
    /// It is forgotten even then.
    Forget,
}

/// The callers' side: a queue, and a descriptor that wakes the thread.
pub(super) struct Mailbox {
    queue: Sender<Command>,
    bell: Arc<OwnedFd>,
}

impl Mailbox {
    pub(super) fn send(&self, command: Command) {
        self.put(command);
        self.ring();
    }

    /// Puts a command into the queue, for when the thread is woken.
    pub(super) fn put(&self, command: Command) {
        // The thread lives as long as the process; without it there is nobody to tell.
        let _ = self.queue.send(command);
    }

    /// Wakes the thread.
    pub(super) fn ring(&self) {
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    pub(super) async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> io::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        answer
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the thread for logs has ended")))
    }
}

/// The thread's side.
pub(super) struct Inbox {
    queue: Receiver<Command>,
    bell: Arc<OwnedFd>,
}

impl Inbox {
    /// What becomes readable when something is in the queue.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Silences the bell.
    pub(super) fn heard(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.bell, &mut count);
    }

    pub(super) fn next(&self) -> Option<Command> {
        self.queue.try_recv().ok()
    }
}

pub(super) fn mailbox() -> io::Result<(Mailbox, Inbox)> {
    let (sender, receiver) = mpsc::channel();
    let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    Ok((
        Mailbox {
            queue: sender,
            bell: Arc::clone(&bell),
        },
        Inbox {
            queue: receiver,
            bell,
        },
    ))
}

/// Gives everybody the same answer.
pub(super) fn answer(replies: impl IntoIterator<Item = Reply>, result: &io::Result<()>) {
    for reply in replies {
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // A caller that does not wait any more needs no answer.
        let _ = reply.send(result);
    }
}
