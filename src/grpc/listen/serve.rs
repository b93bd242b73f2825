//! Serving the sockets, and ending in good order.

use std::{future::Future, pin::pin, time::Duration};

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::{Listeners, accept::Incoming, connection};

/// How serving came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All calls were answered.
    Complete,
    /// Some were not within the grace. Their connections are closed.
    CutOff,
}

/// Serves `routes` on all `listeners` until `shutdown` is ready. The socket files go at once then, no
/// connection is accepted any more, and calls under way have `grace` to end. No connection outlives the future.
///
/// Nothing that a client does ends it: failures to accept are logged, and tried again after a pause.
pub async fn serve(
    listeners: Listeners,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> Ending {
    let routes = routes.prepare();
    let stop = CancellationToken::new();
    let mut incoming = Incoming::new(listeners);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                ending(ended);
            }
            stream = incoming.next() => {
                connections.spawn(connection::serve(stream, routes.clone(), stop.clone(), grace));
            }
        }
    }
    drop(incoming);
    stop.cancel();
    let mut whole = Ending::Complete;
    while let Some(ended) = connections.join_next().await {
        if ending(ended) == Ending::CutOff {
            whole = Ending::CutOff;
        }
    }
    whole
}

fn ending(connection: Result<Ending, JoinError>) -> Ending {
    connection.unwrap_or_else(|error| {
        tracing::error!(%error, "internal fault: serving a connection panicked");
        Ending::CutOff
    })
}
