//! The end of a session on which nothing moves.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::protocol::ProtocolError;

/// Measures how long nothing has moved. The timer is set anew only when it has run off, not at each byte.
pub(super) struct Idle {
    limit: Duration,
    active: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    /// Something has moved just now.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            active: Instant::now(),
            timer: Box::pin(sleep(limit)),
        }
    }

    /// Something moves.
    pub(super) fn moved(&mut self) {
        self.active = Instant::now();
    }

    /// Ready when nothing has moved for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ProtocolError> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let until = self.active + self.limit;
            if until <= Instant::now() {
                return Poll::Ready(ProtocolError::Idle(self.limit));
            }
            self.timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}
