//! Where metrics are scraped from.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Scrapers at a time.
const CONNECTIONS: usize = 16;

/// How long a client may take to say what it wants.
const REQUEST: Duration = Duration::from_secs(10);

/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// What the registry writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// cAdvisor's names are older than OpenMetrics, which would have some otherwise.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics: {source}; choose another --metrics-bind-addr")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Takes the address.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| BindError { address, source })?;
        Ok(Self { listener })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`: `/metrics`, and at `/metrics/pods` the text that `pods` makes, or why it cannot.
    pub async fn serve<F>(self, pods: impl Fn() -> F + Send + Sync + 'static, stop: CancellationToken)
    where
        F: Future<Output = Result<String, String>> + Send,
    {
        let pods = Arc::new(pods);
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let tasks = TaskTracker::new();
        let serving = async {
            loop {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                    return;
                };
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let (pods, stop) = (Arc::clone(&pods), stop.clone());
                        tasks.spawn(async move {
                            let _ = stop.run_until_cancelled(connection(stream, pods)).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        warn!("cannot accept a connection for metrics: {error}");
                        sleep(PAUSE).await;
                    }
                }
            }
        };
        let _ = stop.run_until_cancelled(serving).await;
        tasks.close();
        tasks.wait().await;
    }
}

async fn connection<F>(stream: TcpStream, pods: Arc<impl Fn() -> F + Send + Sync + 'static>)
where
    F: Future<Output = Result<String, String>> + Send,
{
    let service = service_fn(|request| {
        let pods = Arc::clone(&pods);
        async move { Ok::<_, Infallible>(answer(&request, &*pods).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!("a connection for metrics ended: {error}");
    }
}

async fn answer<F>(request: &Request<Incoming>, pods: &impl Fn() -> F) -> Response<Full<Bytes>>
where
    F: Future<Output = Result<String, String>>,
{
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(
            StatusCode::METHOD_NOT_ALLOWED,
            PROMETHEUS,
            "metrics are read by GET\n",
        );
        let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, OPEN_METRICS, super::exposition()),
        "/metrics/pods" => match pods().await {
            Ok(all) => text(StatusCode::OK, PROMETHEUS, all),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, PROMETHEUS, why + "\n"),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            PROMETHEUS,
            "see /metrics and /metrics/pods\n",
        ),
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
