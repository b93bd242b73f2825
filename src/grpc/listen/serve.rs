//! Serving the sockets: accepting, and ending in good order.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use tokio::{
    net::UnixStream,
    sync::oneshot,
    time::{Sleep, sleep},
};
use tonic::{
    service::Routes,
    transport::{Error, Server},
};

use super::{Bound, Listeners};
use crate::grpc::authority::Repaired;

/// First and longest pause after a failed accept; each failure in a row doubles it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How serving came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All calls were answered.
    Complete,
    /// Some were not within the grace. Their connections stay until the runtime ends.
    CutOff,
}

/// Serves `routes` on all `listeners` until `shutdown` is ready. The socket files go at once then, no
/// connection is accepted any more, and calls under way have `grace` to end.
///
/// # Errors
///
/// None that a client can cause: failures to accept are logged, and tried again after a pause.
pub async fn serve(
    listeners: Listeners,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> Result<Ending, Error> {
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Server::builder().add_routes(routes).serve_with_incoming_shutdown(
        Incoming {
            bound: listeners.bound,
            turn: 0,
            pause: None,
            failures: 0,
        },
        // A sender that is dropped means the same.
        async { drop(stopped.await) },
    );
    let deadline = async {
        shutdown.await;
        let _ = stop.send(());
        sleep(grace).await;
    };
    let (serving, deadline) = (pin!(serving), pin!(deadline));
    tokio::select! {
        biased;
        ended = serving => ended.map(|()| Ending::Complete),
        () = deadline => Ok(Ending::CutOff),
    }
}

/// The connections of all listeners, in turn. It never ends and never fails.
struct Incoming {
    bound: Vec<Bound>,
    /// Who is asked first, so that a busy socket does not starve another.
    turn: usize,
    /// Set while nobody is asked, because accepting failed.
    pause: Option<Pin<Box<Sleep>>>,
    /// Failures in a row.
    failures: u32,
}

impl Stream for Incoming {
    type Item = Result<Repaired<UnixStream>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            let mut failed = false;
            for step in 0..this.bound.len() {
                let turn = (this.turn + step) % this.bound.len();
                match this.bound[turn].listener.poll_accept(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok((stream, _))) => {
                        this.turn = turn + 1;
                        this.recovered();
                        return Poll::Ready(Some(Ok(Repaired::new(stream))));
                    }
                    Poll::Ready(Err(error)) => {
                        failed = true;
                        if this.failures == 0 {
                            let socket = &this.bound[turn].name;
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
                .saturating_mul(1 << this.failures.min(16))
                .min(LONGEST_PAUSE);
            this.failures = this.failures.saturating_add(1);
            this.pause = Some(Box::pin(sleep(pause)));
        }
    }
}

impl Incoming {
    fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "accepting connections again");
            self.failures = 0;
        }
    }
}
