//! Connections that carry a process's streams after an HTTP upgrade.
//!
//! Each has a socket of its own, outside the pool, so that it can be half-closed and dies with its
//! session.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE},
    upgrade,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Engine, EngineError, calls, raw};

/// A raw connection to a process, and what of its output had come with the answer's head.
pub struct Hijacked {
    /// The socket; shutting down its write half ends the process's stdin.
    pub stream: UnixStream,
    /// Output read already.
    pub read: Bytes,
}

impl Engine {
    /// `POST path` with `body` and takes the connection over.
    pub(super) async fn hijack(
        &self,
        path: &str,
        body: Vec<u8>,
        action: &str,
    ) -> Result<Hijacked, EngineError> {
        raw::bounded(action, self.timeout, async {
            let version = self.transport.version().await?;
            let stream = UnixStream::connect(self.transport.socket())
                .await
                .map_err(|error| self.transport.unreachable(action, &error))?;
            let lost = |error: hyper::Error| self.transport.broken_off(action, &error);
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
            // Ends when the upgrade is done, or with the connection.
            tokio::spawn(connection.with_upgrades());
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("/v{version}{path}"))
                .header(HOST, "docker")
                .header(CONTENT_TYPE, "application/json")
                .header(CONNECTION, "Upgrade")
                .header(UPGRADE, "tcp")
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| EngineError::Malformed {
                    action: action.into(),
                    why: error.to_string(),
                })?;
            let name = calls::name(&Method::POST, path);
            let send = |request| sender.send_request(request);
            let response = self.transport.observed(name, request, send).await.map_err(lost)?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(raw::refusal(response, action).await);
            }
            let upgraded = upgrade::on(response).await.map_err(lost)?;
            let parts = upgraded
                .downcast::<TokioIo<UnixStream>>()
                .map_err(|_| EngineError::Malformed {
                    action: action.into(),
                    why: "the upgraded connection is not the socket".into(),
                })?;
            Ok(Hijacked {
                stream: parts.io.into_inner(),
                read: parts.read_buf,
            })
        })
        .await
    }
}
