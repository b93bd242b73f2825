//! exec and attach over WebSocket: a channel each for stdin, stdout, stderr, how it ended, and terminal sizes.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::RemoteSubprotocol;
use super::link::Link;
use crate::streaming::protocol::{Limits, ProtocolError, RemoteProtocol, cut_off};
use crate::streaming::queues::Inputs;
use crate::streaming::resize;
use crate::streaming::session::{Outcome, Remote, Streams};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Serves a connection, of which the handshake is over, in a task of its own.
///
/// Before version 5 a client has no way to end its stdin but closing the connection.
///
/// # Errors
///
/// When the connection is broken already.
pub async fn remote<IO>(
    io: IO,
    subprotocol: RemoteSubprotocol,
    streams: Streams,
    limits: Limits,
) -> Result<Remote, ProtocolError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let RemoteSubprotocol {
        version, encoding, ..
    } = subprotocol;
    let mut link = Link::new(io, encoding, version == RemoteProtocol::V5, limits.idle).await;
    let stderr = streams.stderr && !streams.tty;
    // An empty message shows that the connection works, as the runtimes do it.
    let lowest = if streams.stdout {
        STDOUT
    } else if stderr {
        STDERR
    } else {
        ERROR
    };
    link.send(lowest, &[])?;
    let stdin = streams.stdin.then(|| link.inputs.open(STDIN.into()));
    // Sizes come in every version here, not as in SPDY.
    let resize = if streams.tty {
        link.inputs.open(RESIZE.into())
    } else {
        mpsc::channel(1).1
    };
    let stdout = streams.stdout.then(|| link.outputs.open(STDOUT.into()));
    let stderr = stderr.then(|| link.outputs.open(STDERR.into()));
    let (outcome, result) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(error) = serve(link, version, result).await {
            tracing::debug!(%error, "a session ended early");
        }
    });
    Ok(Remote {
        stdin,
        resize: resize::sizes(resize),
        stdout,
        stderr,
        outcome,
    })
}

async fn serve<IO>(
    mut link: Link<IO>,
    version: RemoteProtocol,
    mut result: oneshot::Receiver<Outcome>,
) -> Result<(), ProtocolError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let ended = async {
        let outcome = tokio::select! {
            error = link.serve() => return Err(error),
            outcome = &mut result => outcome.unwrap_or_else(|_| cut_off()),
        };
        // What the client still sends has no reader, and must not hold up its pings.
        link.inputs = Inputs::default();
        link.outputs.close();
        link.drain().await?;
        if let Some(verdict) = version.verdict(&outcome) {
            link.send(ERROR, &verdict)?;
        }
        link.drain().await
    };
    match ended.await {
        Ok(()) => link.farewell().await,
        Err(error) => {
            link.fail(&error).await;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
