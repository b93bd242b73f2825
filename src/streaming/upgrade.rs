//! From an HTTP request to a session.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    http::response,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;

use super::{
    Command, Ports, Session,
    held::Held,
    protocol::{Limits, ProtocolError, RemoteProtocol},
    server::Shared,
    session::{Forward, Remote, Streams},
    spdy,
    websocket::{self, ForwardSubprotocol, RemoteSubprotocol},
};
use crate::metrics;

type Answer = Response<Full<Bytes>>;

/// The client's offers, and the one that was chosen.
const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// All that is known, for a client whose offers are not.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// How the streams of a process travel.
enum RemoteOver {
    Spdy(RemoteProtocol),
    WebSocket(RemoteSubprotocol),
}

/// How forwarded connections travel.
enum ForwardOver {
    Spdy,
    WebSocket(ForwardSubprotocol),
}

/// What a session takes up while it is open: its place among all, and its count.
type Place = (OwnedSemaphorePermit, metrics::OpenSession);

/// Why there is no session, and what the client may want to know about that.
struct Refusal {
    status: StatusCode,
    why: String,
    headers: Vec<(HeaderName, &'static str)>,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self {
            status,
            why: why.into(),
            headers: Vec::new(),
        }
    }

    fn bad_request(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// None of the client's offers is known.
    fn protocols(offers: &[&str], known: &[&'static str]) -> Self {
        let why = format!(
            "none of the protocols {:?} is known here: {}",
            offers.join(", "),
            known.join(", ")
        );
        let mut refusal = Self::new(StatusCode::FORBIDDEN, why);
        refusal.headers = known.iter().map(|protocol| (ACCEPTED, *protocol)).collect();
        refusal
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn into_answer(self) -> Answer {
        let mut answer = Response::builder()
            .status(self.status)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8");
        for (name, value) in self.headers {
            answer = answer.header(name, value);
        }
        finish(answer, format!("{}\n", self.why))
    }
}

/// The answer to one request. A session goes on by itself.
pub(super) fn answer(request: Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    begin(request, shared).unwrap_or_else(Refusal::into_answer)
}

fn begin(mut request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Answer, Refusal> {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        let why = "streams are opened by GET or POST";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, why).with(ALLOW, "GET, POST"));
    }
    let Ok(permit) = Arc::clone(&shared.sessions).try_acquire_owned() else {
        let why = "too many streams are open";
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, why).with(RETRY_AFTER, "60"));
    };
    let Some(session) = shared.streaming.claim(request.uri().path()) else {
        let why = "no such stream: its URL is used up, or older than a minute";
        return Err(Refusal::new(StatusCode::NOT_FOUND, why));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let headers = request.headers();
    let place = |kind| (permit, metrics::session(kind));
    match session {
        Session::Exec(command) => remote(headers, command, upgrade, place("exec"), shared),
        Session::Attach(command) => remote(headers, command, upgrade, place("attach"), shared),
        Session::PortForward(ports) => forward(headers, ports, upgrade, place("port-forward"), shared),
    }
}

fn remote(
    headers: &HeaderMap,
    command: Command,
    upgrade: OnUpgrade,
    place: Place,
    shared: &Arc<Shared>,
) -> Result<Answer, Refusal> {
    let (over, answer) = if is_websocket(headers)? {
        let offers = values(headers, &SEC_WEBSOCKET_PROTOCOL);
        let chosen = websocket::negotiate_remote(&offers)
            .ok_or_else(|| Refusal::protocols(&offers, &websocket::REMOTE_PROTOCOLS))?;
        let answer = websocket_answer(headers, chosen.name);
        (RemoteOver::WebSocket(chosen), answer)
    } else {
        let offers = offered(headers)?;
        let chosen =
            spdy::negotiate(&offers).ok_or_else(|| Refusal::protocols(&offers, &spdy::REMOTE_PROTOCOLS))?;
        (RemoteOver::Spdy(chosen), spdy_answer(chosen.name()))
    };
    let (limits, hold) = (shared.limits, (place, shared.tasks.token()));
    shared.spawn(async move {
        let Command { streams, run } = command;
        match streams_of(upgrade, hold, over, streams, limits).await {
            Ok(remote) => run(remote).await,
            Err(error) => debug!("a client's streams did not come about: {error}"),
        }
    });
    Ok(answer)
}

async fn streams_of(
    upgrade: OnUpgrade,
    hold: Hold,
    over: RemoteOver,
    streams: Streams,
    limits: Limits,
) -> Result<Remote, Failure> {
    let io = connection(upgrade, hold).await?;
    Ok(match over {
        // What was read too far is in the connection still.
        RemoteOver::Spdy(protocol) => spdy::remote(io, Bytes::new(), protocol, streams, limits).await?,
        RemoteOver::WebSocket(protocol) => websocket::remote(io, protocol, streams, limits).await?,
    })
}

fn forward(
    headers: &HeaderMap,
    ports: Ports,
    upgrade: OnUpgrade,
    place: Place,
    shared: &Arc<Shared>,
) -> Result<Answer, Refusal> {
    let (over, answer) = if is_websocket(headers)? {
        let offers = values(headers, &SEC_WEBSOCKET_PROTOCOL);
        let chosen = websocket::negotiate_forward(&offers)
            .ok_or_else(|| Refusal::protocols(&offers, &websocket::FORWARD_PROTOCOLS))?;
        if matches!(chosen, ForwardSubprotocol::Channels(_)) && ports.announced.is_empty() {
            let why = "no port was named when this port-forward was asked for";
            return Err(Refusal::bad_request(why));
        }
        let answer = websocket_answer(headers, Some(chosen.name()));
        (ForwardOver::WebSocket(chosen), answer)
    } else {
        let offers = offered(headers)?;
        if !spdy::negotiate_forward(&offers) {
            return Err(Refusal::protocols(&offers, &[spdy::FORWARD_PROTOCOL]));
        }
        (ForwardOver::Spdy, spdy_answer(spdy::FORWARD_PROTOCOL))
    };
    let (server, hold) = (Arc::clone(shared), (place, shared.tasks.token()));
    shared.spawn(async move {
        let Ports {
            announced,
            mut connect,
        } = ports;
        match forwards_of(upgrade, hold, over, announced, server.limits).await {
            Ok(mut forwards) => {
                while let Some(forward) = forwards.recv().await {
                    let Ok(one) = Arc::clone(&server.forwards).try_acquire_owned() else {
                        let why = format!("port {}: too many connections are forwarded", forward.port);
                        // A client that is gone need not know.
                        let _ = forward.error.send(why);
                        continue;
                    };
                    let work = connect(forward);
                    server.spawn(async move {
                        work.await;
                        drop(one);
                    });
                }
            }
            Err(error) => debug!("a client's port-forward did not come about: {error}"),
        }
    });
    Ok(answer)
}

async fn forwards_of(
    upgrade: OnUpgrade,
    hold: Hold,
    over: ForwardOver,
    ports: Vec<u16>,
    limits: Limits,
) -> Result<mpsc::Receiver<Forward>, Failure> {
    let io = connection(upgrade, hold).await?;
    Ok(match over {
        ForwardOver::Spdy => spdy::forward(io, Bytes::new(), limits),
        ForwardOver::WebSocket(ForwardSubprotocol::Channels(encoding)) => {
            websocket::forward_v4(io, ports, encoding, limits).await?
        }
        ForwardOver::WebSocket(ForwardSubprotocol::Tunnel) => {
            spdy::forward(websocket::tunnel(io).await, Bytes::new(), limits)
        }
    })
}

/// Why there are no streams after all.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the connection was lost at its upgrade: {0}")]
    Upgrade(#[from] hyper::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// What a session has until its connection is closed: its place, and the server's patience.
type Hold = (Place, TaskTrackerToken);

async fn connection(upgrade: OnUpgrade, hold: Hold) -> Result<Held<TokioIo<Upgraded>, Hold>, hyper::Error> {
    Ok(Held {
        io: TokioIo::new(upgrade.await?),
        _until: hold,
    })
}

/// Whether a WebSocket or a SPDY connection is wanted. Anything else is refused.
fn is_websocket(headers: &HeaderMap) -> Result<bool, Refusal> {
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(Refusal::bad_request(
            "streams need an upgraded connection: Connection: Upgrade is missing",
        ));
    }
    if has_token(headers, &UPGRADE, "websocket") {
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
            let refusal = Refusal::bad_request("Sec-WebSocket-Version must be 13");
            return Err(refusal.with(SEC_WEBSOCKET_VERSION, "13"));
        }
        if !headers.contains_key(SEC_WEBSOCKET_KEY) {
            return Err(Refusal::bad_request("Sec-WebSocket-Key is missing"));
        }
        return Ok(true);
    }
    if has_token(headers, &UPGRADE, "spdy/3.1") {
        return Ok(false);
    }
    Err(Refusal::bad_request(
        "streams need Upgrade: SPDY/3.1 or Upgrade: websocket",
    ))
}

/// What a SPDY client offers, at least one protocol.
fn offered(headers: &HeaderMap) -> Result<Vec<&str>, Refusal> {
    let offers = values(headers, &PROTOCOL);
    if offers.iter().all(|offer| offer.trim().is_empty()) {
        return Err(Refusal::bad_request("X-Stream-Protocol-Version is missing"));
    }
    Ok(offers)
}

fn values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut tokens = values(headers, name)
        .into_iter()
        .flat_map(|value| value.split(','));
    tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
}

fn spdy_answer(protocol: &'static str) -> Answer {
    finish(switching("SPDY/3.1").header(PROTOCOL, protocol), Bytes::new())
}

fn websocket_answer(headers: &HeaderMap, protocol: Option<&'static str>) -> Answer {
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .map_or(&b""[..], |key| key.as_bytes());
    let mut answer = switching("websocket").header(SEC_WEBSOCKET_ACCEPT, websocket::accept_key(key));
    if let Some(protocol) = protocol {
        answer = answer.header(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    finish(answer, Bytes::new())
}

fn switching(protocol: &'static str) -> response::Builder {
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, protocol)
}

fn finish(answer: response::Builder, body: impl Into<Bytes>) -> Answer {
    // Fails for a header that cannot be sent only, and none of them is a client's.
    answer.body(Full::new(body.into())).unwrap_or_else(|_| {
        let mut answer = Response::default();
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}
