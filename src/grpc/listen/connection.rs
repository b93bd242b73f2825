//! One connection: HTTP/2 from its preface to its end.

use std::time::Duration;

use hyper::{Request, body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    pin, select,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tracing::debug;

use super::Ending;
use crate::{
    grpc::{authority::Repaired, deadline, meter},
    trace,
};

/// How long a client may take from connecting to the end of its preface, which is the first it sends.
const PREFACE_LIMIT: Duration = Duration::from_secs(10);

/// How long a client has at shutdown to take its last answers and to acknowledge the GOAWAY. One that lives does
/// that at once; one that is stopped would keep us for the whole grace, without a call under way.
const FAREWELL: Duration = Duration::from_secs(1);

/// Calls at a time on one connection. A kubelet has one connection for all of its pods, and calls that last: probes,
/// stops, pulls. What is above the limit waits on the client's side.
const MAX_CALLS: u32 = 1024;

/// Limit for the headers of a call, decoded. Those of CRI have a few hundred bytes.
const MAX_HEADERS: u32 = 16 << 10;

/// Serves the connection to its end, or until `shutdown` and at most `grace` after that. Says whether calls that
/// were under way had to be given up then.
pub(super) async fn serve(
    stream: UnixStream,
    routes: Routes,
    shutdown: CancellationToken,
    grace: Duration,
) -> Ending {
    let mut stream = Repaired::new(stream);
    select! {
        biased;
        begun = timeout(PREFACE_LIMIT, stream.preface()) => match begun {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(%error, "a client is gone before it said anything");
                return Ending::Complete;
            }
            Err(_) => {
                debug!("a client has connected and says nothing");
                return Ending::Complete;
            }
        },
        () = shutdown.cancelled() => return Ending::Complete,
    }

    let calls = Calls::default();
    let connection = http2::Builder::new(calls.clone())
        .max_concurrent_streams(MAX_CALLS)
        .max_header_list_size(MAX_HEADERS)
        .auto_date_header(false)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request: Request<Incoming>| {
                let rpc = meter::name(request.uri().path());
                let call = trace::Call::begin(rpc, request.uri().path(), request.headers());
                meter::metered(rpc, call, deadline::answer(routes.clone(), request))
            }),
        );
    pin!(connection);
    select! {
        biased;
        ended = connection.as_mut() => return closed(ended),
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    select! {
        biased;
        ended = connection => closed(ended),
        () = calls.idle(FAREWELL) => Ending::Complete,
        () = sleep(grace) => if calls.running.is_empty() { Ending::Complete } else { Ending::CutOff },
    }
    // The connection is dropped here; that ends the tasks of its calls.
}

fn closed(ended: hyper::Result<()>) -> Ending {
    if let Err(error) = ended {
        debug!(?error, "a connection broke");
    }
    Ending::Complete
}

/// The calls of a connection. hyper runs each in a task, which lasts until the answer is handed to HTTP/2.
#[derive(Clone, Default)]
struct Calls {
    running: TaskTracker,
}

impl<F> Executor<F> for Calls
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, call: F) {
        self.running.spawn(call);
    }
}

impl Calls {
    /// Waits until no call has been under way for some time.
    async fn idle(&self, time: Duration) {
        self.running.close();
        loop {
            self.running.wait().await;
            sleep(time).await;
            // One may have come that was sent before its client heard of the end.
            if self.running.is_empty() {
                return;
            }
        }
    }
}
