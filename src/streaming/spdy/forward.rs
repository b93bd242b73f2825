//! port-forward over SPDY: two streams per forwarded connection, one for data and one for what went wrong.

use std::collections::{HashMap, VecDeque};
use std::num::NonZero;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::connection::{Event, Role};
use super::frame::Status;
use super::headers::Headers;
use super::link::Link;
use crate::streaming::protocol::{Limits, ProtocolError};
use crate::streaming::session::Forward;

/// Connections that wait for somebody to serve them.
const WAITING: usize = 16;

/// Serves an upgraded connection in a task of its own: each pair of streams becomes a [`Forward`].
///
/// `first` is what was read of `io` already. The queue ends when the client has gone; dropping it closes the
/// connection. A stream that says no port or no type is reset, as is one whose partner does not come within
/// `limits.creation`.
pub fn forward<IO>(io: IO, first: Bytes, limits: Limits) -> mpsc::Receiver<Forward>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut link = Link::new(io, &first, Role::Server, limits.idle);
        let result = match serve(&mut link, &sender, limits).await {
            Ok(()) => {
                link.connection.reset_all(Status::Cancel);
                link.outputs.close();
                link.farewell().await
            }
            Err(error) => {
                link.fail(&error).await;
                Err(error)
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a port-forward connection ended");
        }
    });
    receiver
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

/// What the headers of a stream say.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// The same for both streams of a pair.
    name: String,
    kind: Kind,
    port: u16,
}

impl Request {
    fn new(id: u32, headers: &Headers) -> Option<Self> {
        let kind = match headers.get("streamtype")? {
            "data" => Kind::Data,
            "error" => Kind::Error,
            _ => return None,
        };
        let port = headers.get("port")?.parse::<NonZero<u16>>().ok()?.get();
        let name = match headers.get("requestid") {
            Some(name) if !name.is_empty() => name.to_owned(),
            // Clients of Kubernetes 1.0 open the error stream first, and the data stream right after it.
            _ => match kind {
                Kind::Error => id.to_string(),
                Kind::Data => id.saturating_sub(2).to_string(),
            },
        };
        Some(Self { name, kind, port })
    }
}

/// A pair of which only one stream is there.
#[derive(Debug)]
struct Half {
    id: u32,
    kind: Kind,
    port: u16,
    /// Where what already comes goes, if this is the data stream.
    input: Option<mpsc::Receiver<Bytes>>,
    until: Instant,
}

/// Until nobody takes the connections any more.
async fn serve<IO>(
    link: &mut Link<IO>,
    sender: &mpsc::Sender<Forward>,
    limits: Limits,
) -> Result<(), ProtocolError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut halves: HashMap<String, Half> = HashMap::new();
    // Bounded by the number of streams on a connection.
    let mut waiting = VecDeque::new();
    loop {
        let expiry = halves.values().map(|half| half.until).min();
        tokio::select! {
            event = link.next() => match event? {
                Event::Opened { id, headers } => {
                    waiting.extend(open(link, &mut halves, id, &headers, limits));
                }
                Event::Reset(id) => halves.retain(|_, half| half.id != id),
                _ => {}
            },
            permit = sender.reserve(), if !waiting.is_empty() => match (permit, waiting.pop_front()) {
                (Ok(permit), Some(forward)) => permit.send(forward),
                _ => return Ok(()),
            },
            () = sender.closed() => return Ok(()),
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                let now = Instant::now();
                halves.retain(|name, half| {
                    let keep = half.until > now;
                    if !keep {
                        tracing::debug!(name, "the second stream of a forwarded connection did not come");
                        link.inputs.close(half.id);
                        link.connection.reset(half.id, Status::Cancel);
                    }
                    keep
                });
            }
        }
    }
}

/// Takes a stream, and returns the connection it completes.
fn open<IO>(
    link: &mut Link<IO>,
    halves: &mut HashMap<String, Half>,
    id: u32,
    headers: &Headers,
    limits: Limits,
) -> Option<Forward>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Some(Request { name, kind, port }) = Request::new(id, headers) else {
        tracing::debug!(id, ?headers, "reset a stream without a valid port and type");
        link.connection.reset(id, Status::Protocol);
        return None;
    };
    if halves.get(&name).is_some_and(|half| half.kind == kind) {
        tracing::debug!(
            id,
            name,
            "reset a second stream of the same type for one forwarded connection"
        );
        link.connection.reset(id, Status::Protocol);
        return None;
    }
    link.connection.accept(id);
    let input = (kind == Kind::Data).then(|| link.inputs.open(id));
    let Some(other) = halves.remove(&name) else {
        halves.insert(
            name,
            Half {
                id,
                kind,
                port,
                input,
                until: Instant::now() + limits.creation,
            },
        );
        return None;
    };
    let (data, error, port) = match kind {
        Kind::Data => (id, other.id, port),
        Kind::Error => (other.id, id, other.port),
    };
    Some(Forward {
        port,
        input: input.or(other.input)?,
        output: link.outputs.open(data),
        error: link.outputs.open_text(error),
    })
}

#[cfg(test)]
mod tests;
