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
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    Streaming,
    protocol::Limits,
    tls::{Files, Tls, TlsError},
    upgrade,
};

/// How long a client may take to say what it wants.
const REQUEST: Duration = Duration::from_secs(10);

/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// How long clients have for taking the news when the server ends.
const ENDING: Duration = Duration::from_secs(3);

/// Streams cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address} for exec, attach and port-forward: {source}; choose another --streaming-bind-addr"
    )]
    Address {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("--stream-tls-cert, --stream-tls-key: {0}")]
    Tls(#[from] TlsError),
}

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
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
    /// Takes the address; a port of 0 takes any free one. With a certificate, TLS is spoken there.
    pub async fn bind(
        address: SocketAddr,
        certificate: Option<Files>,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let tls = certificate.map(Tls::load).transpose()?.map(Arc::new);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let failed = |source| BindError::Address { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let room = room();
        let shared = Arc::new(Shared {
            streaming: Arc::new(Streaming::new(scheme, reachable(bound))),
            limits,
            sessions: Arc::new(Semaphore::new(room)),
            forwards: Arc::new(Semaphore::new(room)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        Ok(Self {
            listener,
            tls,
            shared,
        })
    }

    /// Gives out this server's URLs.
    pub fn streaming(&self) -> Arc<Streaming> {
        Arc::clone(&self.shared.streaming)
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, and ends all sessions then: their clients are told, if they listen.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
                        self.shared.spawn(accept(stream, tls, shared));
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
        if timeout(ENDING, self.shared.tasks.wait()).await.is_err() {
            warn!("{} streams had to be broken off", self.shared.tasks.len());
        }
    }
}

async fn accept(stream: TcpStream, tls: Option<Arc<Tls>>, shared: Arc<Shared>) {
    // A key press is a packet of its own.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return serve(stream, shared).await;
    };
    match timeout(REQUEST, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, shared).await,
        Ok(Err(error)) => debug!("a connection for a stream does not speak TLS: {error}"),
        Err(_) => debug!("a connection for a stream was silent"),
    }
}

/// Answers requests on a connection, until one of them takes it over.
async fn serve<IO>(stream: IO, shared: Arc<Shared>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
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
        let first = Server::bind("127.0.0.1:0".parse().unwrap(), None, Limits::default())
            .await
            .unwrap();
        let address = first.address().unwrap();
        let error = Server::bind(address, None, Limits::default()).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&address.to_string()) && text.contains("in use"),
            "{text}"
        );
    }
}
