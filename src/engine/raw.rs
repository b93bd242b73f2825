//! Calls whose answers are read by our own types.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response, Uri,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Engine, EngineError, transport};

/// The answer of a call that failed.
#[derive(Deserialize)]
struct Failure {
    message: String,
}

impl Engine {
    /// `GET path`, read as JSON. Asked once more where the connection is lost: the Engine may have been restarted.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, action: &str) -> Result<T, EngineError> {
        let body = match self.text(Method::GET, path, action).await {
            Err(EngineError::BrokenOff { .. }) => self.text(Method::GET, path, action).await?,
            other => other?,
        };
        read(&body, action)
    }

    /// `DELETE path`, read as JSON.
    pub(super) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        action: &str,
    ) -> Result<T, EngineError> {
        read(&self.text(Method::DELETE, path, action).await?, action)
    }

    /// `POST path`, whose answer says nothing.
    pub(super) async fn post(&self, path: &str, action: &str) -> Result<(), EngineError> {
        self.text(Method::POST, path, action).await.map(drop)
    }

    /// The whole answer to a call without a body.
    async fn text(&self, method: Method, path: &str, action: &str) -> Result<Bytes, EngineError> {
        bounded(action, self.timeout, async {
            let response = self.stream(method, path, None, action).await?;
            let body = response.into_body().collect().await;
            Ok(body
                .map_err(|error| self.transport.broken_off(action, &error))?
                .to_bytes())
        })
        .await
    }

    /// A call without a body; the answer's is the caller's to read.
    pub(super) async fn stream(
        &self,
        method: Method,
        path: &str,
        header: Option<(HeaderName, HeaderValue)>,
        action: &str,
    ) -> Result<Response<Incoming>, EngineError> {
        let request = request(method, path, header, action)?;
        let response = self.transport.call(request, action).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refusal(response, action).await)
        }
    }
}

/// Runs `call`, but no longer than `after`.
pub(super) async fn bounded<T>(
    action: &str,
    after: Duration,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    tokio::time::timeout(after, call).await.unwrap_or_else(|_| {
        Err(EngineError::TimedOut {
            action: action.into(),
            after,
        })
    })
}

/// A request without a body.
pub(super) fn request(
    method: Method,
    path: &str,
    header: Option<(HeaderName, HeaderValue)>,
    action: &str,
) -> Result<Request<transport::Body>, EngineError> {
    let uri = path.parse::<Uri>().map_err(|error| EngineError::Malformed {
        action: action.into(),
        why: format!("there is no path {path:?} to ask for: {error}"),
    })?;
    let mut request = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, value);
    }
    request
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(request)
}

/// What the Engine said with a status that is no success.
pub(super) async fn refusal(response: Response<Incoming>, action: &str) -> EngineError {
    let status = response.status().as_u16();
    let text = response
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let message = serde_json::from_slice::<Failure>(&text).map_or_else(
        |_| String::from_utf8_lossy(&text).trim().to_owned(),
        |failure| failure.message,
    );
    EngineError::Refused {
        action: action.into(),
        status,
        message,
    }
}

fn read<T: DeserializeOwned>(body: &[u8], action: &str) -> Result<T, EngineError> {
    serde_json::from_slice(body).map_err(|error| EngineError::Malformed {
        action: action.into(),
        why: error.to_string(),
    })
}

/// One value of a path or query, percent-encoded.
pub(super) fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A `filters` query value.
pub(super) fn filters<T: Serialize>(filters: &T) -> String {
    // Maps of strings always serialise.
    encode(&serde_json::to_string(filters).unwrap_or_default())
}
