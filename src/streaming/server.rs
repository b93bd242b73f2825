//! The HTTP server at the URLs that Exec, Attach and PortForward answer with.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{Streaming, protocol::Limits, upgrade};

/// How long a client may take to say what it wants.
const REQUEST: Duration = Duration::from_secs(10);

/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// The address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for exec, attach and port-forward: {source}; choose another --streaming-bind-addr"
)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all connections use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) streaming: Arc<Streaming>,
    pub(super) limits: Limits,
    /// One permit for each session.
    pub(super) sessions: Arc<Semaphore>,
    /// One permit for each forwarded connection.
    pub(super) forwards: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Shared {
    /// Runs something that ends with the server.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _ = stop.run_until_cancelled(work).await;
        });
    }
}

impl Server {
    /// Takes the address; a port of 0 takes any free one.
    pub async fn bind(address: SocketAddr, limits: Limits) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let room = room();
        let shared = Arc::new(Shared {
            streaming: Arc::new(Streaming::new(reachable(bound))),
            limits,
            sessions: Arc::new(Semaphore::new(room)),
            forwards: Arc::new(Semaphore::new(room)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        Ok(Self { listener, shared })
    }

    /// Gives out this server's URLs.
    pub fn streaming(&self) -> Arc<Streaming> {
        Arc::clone(&self.shared.streaming)
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, and ends all sessions then.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let shared = Arc::clone(&self.shared);
                        self.shared.spawn(connection(stream, shared));
                    }
                    Err(error) => {
                        // Most likely too many open files; others close some.
                        warn!("cannot accept a connection for a stream: {error}");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
        drop(self.listener);
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // A key press is a packet of its own.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let response = upgrade::answer(request, &shared);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!("a connection for a stream ended: {error}");
    }
}

/// The address that the kubelet is told: it is on this node.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// How many sessions, and how many forwarded connections, fit beside everything else into the files that
/// this process may open. A session takes two, a forwarded connection one.
fn room() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / 4).map_or(MOST, |files| files.min(MOST))
}

/// However many files there may be, each session takes memory too.
const MOST: usize = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_this_node() {
        for (bound, told) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()).to_string(), told);
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_told() {
        let first = Server::bind("127.0.0.1:0".parse().unwrap(), Limits::default())
            .await
            .unwrap();
        let address = first.address().unwrap();
        let error = Server::bind(address, Limits::default()).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&address.to_string()) && text.contains("in use"),
            "{text}"
        );
    }
}
