//! Accepting connections, through all that can go wrong with it.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::UnixStream,
    time::{Sleep, sleep},
};

use super::{Bound, Listeners};

/// First and longest pause after a failed accept; each failure in a row doubles it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The connections of all listeners, in turn. They never end and never fail.
pub(super) struct Incoming {
    bound: Vec<Bound>,
    /// Who is asked first, so that a busy socket does not starve another.
    turn: usize,
    /// Set while nobody is asked, because accepting failed.
    pause: Option<Pin<Box<Sleep>>>,
    /// Failures in a row.
    failures: u32,
}

impl Incoming {
    pub(super) fn new(listeners: Listeners) -> Self {
        Self {
            bound: listeners.bound,
            turn: 0,
            pause: None,
            failures: 0,
        }
    }

    /// The next connection. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> UnixStream {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<UnixStream> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let mut failed = false;
            for step in 0..self.bound.len() {
                let turn = (self.turn + step) % self.bound.len();
                match self.bound[turn].listener.poll_accept(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok((stream, _))) => {
                        self.turn = turn + 1;
                        self.recovered();
                        return Poll::Ready(stream);
                    }
                    Poll::Ready(Err(error)) => {
                        failed = true;
                        if self.failures == 0 {
                            let socket = &self.bound[turn].name;
                            tracing::error!(socket, %error, "cannot accept connections, trying on");
                        }
                    }
                }
            }
            if !failed {
                return Poll::Pending;
            }
            // What fails here is short of something the whole process shares (descriptors, memory), so the
            // other sockets wait too. The connection stays in the backlog meanwhile.
            let pause = SHORTEST_PAUSE
                .saturating_mul(1 << self.failures.min(16))
                .min(LONGEST_PAUSE);
            self.failures = self.failures.saturating_add(1);
            self.pause = Some(Box::pin(sleep(pause)));
        }
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "accepting connections again");
            self.failures = 0;
        }
    }
}
