//! HTTP to the Engine: one connection pool, one negotiated API version.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bollard::BollardRequest;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, Uri, Version,
    body::Incoming,
    header::{HOST, HeaderValue},
    http::uri::PathAndQuery,
};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tracing::debug;
use translate::facts::ApiVersion;

use super::{
    EngineError, calls,
    connection::{Connector, Epoch},
    raw::bounded,
};
use crate::{metrics, trace};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How long an idle connection is kept. The Engine itself sets no limit.
const IDLE: Duration = Duration::from_secs(90);

/// Idle connections kept: as many short calls as one pod start makes at once.
const IDLE_CONNECTIONS: usize = 8;

const NEGOTIATE: &str = "negotiate the API version";

pub(super) struct Transport {
    client: legacy::Client<Connector, Body>,
    socket: Arc<PathBuf>,
    epoch: Arc<Epoch>,
    /// How long the Engine may take to tell its version.
    timeout: Duration,
    /// The negotiated version and the epoch it belongs to.
    version: Mutex<Option<(u64, ApiVersion)>>,
}

impl Transport {
    pub(super) fn new(socket: PathBuf, timeout: Duration) -> Self {
        let socket = Arc::new(socket);
        let epoch = Arc::new(Epoch::default());
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(Connector {
                socket: Arc::clone(&socket),
                epoch: Arc::clone(&epoch),
            });
        Self {
            client,
            socket,
            epoch,
            timeout,
            version: Mutex::new(None),
        }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.now()
    }

    /// Has everything that is known of the Engine asked again.
    pub(super) fn end_epoch(&self) {
        self.epoch.end();
    }

    /// The API version to speak: the Engine's newest, but none newer than what was tested.
    pub(super) async fn version(&self) -> Result<ApiVersion, EngineError> {
        if let Some((epoch, version)) = *self.lock_version()
            && epoch == self.epoch.now()
        {
            return Ok(version);
        }
        let head = bounded(NEGOTIATE, self.timeout, self.ping()).await?;
        let told = head
            .get("api-version")
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let newest: ApiVersion = told.parse().map_err(|why| EngineError::Malformed {
            action: NEGOTIATE.into(),
            why: format!("header Api-Version: {why}"),
        })?;
        if newest < ApiVersion::FLOOR {
            return Err(EngineError::TooOld {
                found: told.into(),
                needed: ApiVersion::FLOOR.to_string(),
            });
        }
        let version = newest.min(ApiVersion::CEILING);
        *self.lock_version() = Some((self.epoch.now(), version));
        Ok(version)
    }

    /// The headers of an answer to `GET /_ping`, the one path that needs no version.
    pub(super) async fn ping(&self) -> Result<HeaderMap, EngineError> {
        let mut request = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *request.uri_mut() = Uri::from_static("http://engine/_ping");
        let response = self
            .send(request, calls::name(&Method::GET, "/_ping"), "ping")
            .await?;
        let (head, body) = response.into_parts();
        // Read to its end, so that the connection can be used again.
        let _ = body.collect().await;
        if head.status.is_success() {
            Ok(head.headers)
        } else {
            Err(EngineError::Refused {
                action: "ping".into(),
                status: head.status.as_u16(),
                message: "the engine is not ready".into(),
            })
        }
    }

    /// Sends `request`, whose path has no version yet, under the negotiated one.
    pub(super) async fn call(
        &self,
        mut request: Request<Body>,
        action: &str,
    ) -> Result<Response<Incoming>, EngineError> {
        let version = self.version().await?;
        let name = calls::name(request.method(), request.uri().path());
        *request.uri_mut() = versioned(request.uri(), version).map_err(|why| EngineError::Malformed {
            action: action.into(),
            why,
        })?;
        self.send(request, name, action).await
    }

    async fn send(
        &self,
        mut request: Request<Body>,
        name: &'static str,
        action: &str,
    ) -> Result<Response<Incoming>, EngineError> {
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("docker"));
        *request.version_mut() = Version::HTTP_11;
        self.observed(name, request, |request| self.client.request(request))
            .await
            .map_err(|error| match error.is_connect() {
                true => self.unreachable(action, &error),
                false => self.broken_off(action, &error),
            })
    }

    /// Has `send` send `request`, and the call counted, timed, traced and logged, to the head of its answer.
    pub(super) async fn observed<B, F, E>(
        &self,
        name: &'static str,
        mut request: Request<B>,
        send: impl FnOnce(Request<B>) -> F,
    ) -> Result<Response<Incoming>, E>
    where
        F: Future<Output = Result<Response<Incoming>, E>>,
    {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let span = trace::engine(name, method.as_str(), &path, &self.socket);
        span.tell(request.headers_mut());
        let began = Instant::now();
        let answer = send(request).await;
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        metrics::engine(name, status, began.elapsed());
        span.answered(status);
        if answer.is_ok() {
            debug!(%method, path, status, "engine call");
        }
        answer
    }

    /// Serves bollard.
    pub(super) async fn serve_bollard(
        &self,
        request: BollardRequest,
    ) -> Result<Response<Incoming>, bollard::errors::Error> {
        let request = request.map(|body| body.map_err(io::Error::other).boxed_unsync());
        self.call(request, "call the engine")
            .await
            .map_err(|ours| io::Error::other(ours).into())
    }

    /// What became of a call by bollard.
    pub(super) fn by_bollard(&self, action: &str, error: bollard::errors::Error) -> EngineError {
        use bollard::errors::Error;
        let malformed = |why| EngineError::Malformed {
            action: action.into(),
            why,
        };
        match error {
            Error::DockerResponseServerError { status_code, message } => EngineError::Refused {
                action: action.into(),
                status: status_code,
                message,
            },
            // Our own errors pass through bollard in this shape.
            Error::IOError { err } => match err.downcast::<EngineError>() {
                Ok(ours) => ours.doing(action.into()),
                Err(err) => malformed(err.to_string()),
            },
            Error::HyperResponseError { err } => self.broken_off(action, &err),
            other => malformed(other.to_string()),
        }
    }

    /// There was no connection to be had.
    pub(super) fn unreachable(&self, action: &str, error: &(dyn std::error::Error + 'static)) -> EngineError {
        EngineError::Unreachable {
            action: action.into(),
            socket: self.socket.display().to_string(),
            why: innermost(error),
        }
    }

    /// The connection was lost before the end of the answer.
    pub(super) fn broken_off(&self, action: &str, error: &(dyn std::error::Error + 'static)) -> EngineError {
        EngineError::BrokenOff {
            action: action.into(),
            socket: self.socket.display().to_string(),
            why: innermost(error),
        }
    }

    fn lock_version(&self) -> std::sync::MutexGuard<'_, Option<(u64, ApiVersion)>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the system said; the layers around it say "client error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// `uri` with `/vX.Y` in front of its path.
fn versioned(uri: &Uri, version: ApiVersion) -> Result<Uri, String> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    format!("http://engine/v{version}{path}")
        .parse()
        .map_err(|error| format!("path {path:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stands_in_front_of_every_path() {
        let uri = versioned(
            &Uri::from_static("http://engine/containers/json?all=true"),
            ApiVersion::new(1, 41),
        );
        assert_eq!(
            uri.map(|u| u.to_string()),
            Ok("http://engine/v1.41/containers/json?all=true".into())
        );
    }
}
