//! exec and attach over SPDY: one stream each for stdin, stdout, stderr, terminal sizes, and how it ended.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::connection::{Event, Role};
use super::frame::Status;
use super::headers::Headers;
use super::link::Link;
use crate::streaming::protocol::{Limits, ProtocolError, RemoteProtocol, cut_off};
use crate::streaming::queues::Inputs;
use crate::streaming::resize;
use crate::streaming::session::{Outcome, Remote, Streams};

/// The streams by their `streamtype`, and their numbers once they are open.
#[derive(Debug, Default)]
struct Roles(Vec<(&'static str, Option<u32>)>);

impl Roles {
    fn new(protocol: RemoteProtocol, streams: Streams) -> Self {
        let wanted = [
            ("error", true),
            ("stdin", streams.stdin),
            ("stdout", streams.stdout),
            ("stderr", streams.stderr && !streams.tty),
            ("resize", protocol.resizes(streams)),
        ];
        Self(
            wanted
                .into_iter()
                .filter(|(_, wanted)| *wanted)
                .map(|(name, _)| (name, None))
                .collect(),
        )
    }

    /// Takes stream `id`, if it is wanted and not there yet.
    fn open(&mut self, id: u32, headers: &Headers) -> bool {
        let Some(kind) = headers.get("streamtype") else {
            return false;
        };
        let role = self
            .0
            .iter_mut()
            .find(|(name, id)| name.eq_ignore_ascii_case(kind) && id.is_none());
        role.map(|(_, role)| *role = Some(id)).is_some()
    }

    fn close(&mut self, id: u32) {
        for (_, role) in &mut self.0 {
            if *role == Some(id) {
                *role = None;
            }
        }
    }

    fn get(&self, name: &str) -> Option<u32> {
        self.0
            .iter()
            .find(|(other, _)| *other == name)
            .and_then(|(_, id)| *id)
    }

    fn opened(&self) -> usize {
        self.0.iter().filter(|(_, id)| id.is_some()).count()
    }

    const fn expected(&self) -> usize {
        self.0.len()
    }
}

/// Waits for the streams of a session on an upgraded connection, then serves it in a task of its own.
///
/// `first` is what was read of `io` already. Which streams are wanted is what the CRI call said; any other is
/// refused.
///
/// # Errors
///
/// When the client goes, breaks the protocol, or has not opened all streams within `limits.creation`. The
/// connection is closed then.
pub async fn remote<IO>(
    io: IO,
    first: Bytes,
    protocol: RemoteProtocol,
    streams: Streams,
    limits: Limits,
) -> Result<Remote, ProtocolError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut link = Link::new(io, &first, Role::Server, limits.idle);
    let mut roles = Roles::new(protocol, streams);
    let mut queues = Queues::default();
    let result = match timeout(limits.creation, opening(&mut link, &mut roles, &mut queues)).await {
        Ok(result) => result,
        Err(_) => Err(ProtocolError::Incomplete {
            opened: roles.opened(),
            expected: roles.expected(),
            limit: limits.creation,
        }),
    };
    if let Err(error) = result {
        link.fail(&error).await;
        return Err(error);
    }
    if protocol == RemoteProtocol::V1
        && let Some(stdin) = roles.get("stdin")
    {
        link.connection.finish(stdin);
    }
    let mut output = |name| roles.get(name).map(|id| link.outputs.open(id));
    let (stdout, stderr) = (output("stdout"), output("stderr"));
    let (outcome, result) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(error) = serve(link, roles, protocol, result).await {
            tracing::debug!(%error, "a session ended early");
        }
    });
    // Without a stream for it, this queue ends at once.
    let resize = queues.resize.unwrap_or_else(|| mpsc::channel(1).1);
    Ok(Remote {
        stdin: queues.stdin,
        resize: resize::sizes(resize),
        stdout,
        stderr,
        outcome,
    })
}

/// Open from the start, as clients may send before all their streams are accepted.
#[derive(Debug, Default)]
struct Queues {
    stdin: Option<mpsc::Receiver<Bytes>>,
    resize: Option<mpsc::Receiver<Bytes>>,
}

async fn opening<IO>(link: &mut Link<IO>, roles: &mut Roles, queues: &mut Queues) -> Result<(), ProtocolError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    while roles.opened() < roles.expected() {
        match link.next().await? {
            Event::Opened { id, headers } if roles.open(id, &headers) => {
                if roles.get("stdin") == Some(id) {
                    queues.stdin = Some(link.inputs.open(id));
                } else if roles.get("resize") == Some(id) {
                    queues.resize = Some(link.inputs.open(id));
                }
                link.connection.accept(id);
            }
            Event::Opened { id, .. } => link.connection.reset(id, Status::Refused),
            Event::Reset(id) => roles.close(id),
            _ => {}
        }
    }
    Ok(())
}

async fn serve<IO>(
    mut link: Link<IO>,
    roles: Roles,
    protocol: RemoteProtocol,
    mut result: oneshot::Receiver<Outcome>,
) -> Result<(), ProtocolError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let ended = async {
        let outcome = loop {
            tokio::select! {
                event = link.next() => if let Event::Opened { id, .. } = event? {
                    link.connection.reset(id, Status::Refused);
                },
                outcome = &mut result => break outcome,
            }
        };
        // What the client still sends has no reader, and must not hold up its pings.
        link.inputs = Inputs::default();
        // Clients read stdout and stderr to their ends before they look at how it went.
        link.outputs.close();
        link.drain().await?;
        Ok(outcome)
    };
    let outcome = match ended.await {
        Ok(outcome) => outcome.unwrap_or_else(|_| cut_off()),
        Err(error) => {
            link.fail(&error).await;
            return Err(error);
        }
    };
    if let Some(error) = roles.get("error") {
        if let Some(verdict) = protocol.verdict(&outcome) {
            link.send(error, &verdict);
        }
        link.connection.finish(error);
    }
    for name in ["stdin", "resize"] {
        if let Some(id) = roles.get(name) {
            link.connection.finish(id);
        }
    }
    link.farewell().await
}

#[cfg(test)]
mod tests;
