//! port-forward over WebSocket: two channels for each port that was asked for, and one connection to each.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::Encoding;
use super::link::Link;
use crate::streaming::protocol::{Limits, ProtocolError};
use crate::streaming::session::Forward;

/// Serves a connection, of which the handshake is over, in a task of its own. All of `ports` are there at once.
///
/// The connection is closed when all forwards have ended.
///
/// # Errors
///
/// When there are no ports, or more than there are channels for, or the connection is broken already.
pub async fn forward_v4<IO>(
    io: IO,
    ports: Vec<u16>,
    encoding: Encoding,
    limits: Limits,
) -> Result<mpsc::Receiver<Forward>, ProtocolError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut link = Link::new(io, encoding, false, limits.idle).await;
    let forwards = match open(&mut link, &ports, encoding) {
        Ok(forwards) => forwards,
        Err(error) => {
            link.fail(&error).await;
            return Err(error);
        }
    };
    let (sender, receiver) = mpsc::channel(ports.len());
    tokio::spawn(async move {
        for forward in forwards {
            // There is room for all; if nobody wants them, they end, and the connection with them.
            let _ = sender.send(forward).await;
        }
        drop(sender);
        let result = match link.drain().await {
            Ok(()) => link.farewell().await,
            Err(error) => {
                link.fail(&error).await;
                Err(error)
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a port-forward connection ended");
        }
    });
    Ok(receiver)
}

/// Opens both channels of each port. The first message on a channel is the number of its port.
fn open<IO>(link: &mut Link<IO>, ports: &[u16], encoding: Encoding) -> Result<Vec<Forward>, ProtocolError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let most = encoding.channels() / 2;
    if ports.is_empty() || ports.len() > most {
        return Err(ProtocolError::Ports {
            asked: ports.len(),
            most,
        });
    }
    let mut forwards = Vec::new();
    for (port, data) in ports.iter().zip((0_u8..).step_by(2)) {
        let error = data + 1;
        link.send(data, &port.to_le_bytes())?;
        link.send(error, &port.to_le_bytes())?;
        forwards.push(Forward {
            port: *port,
            input: link.inputs.open(data.into()),
            output: link.outputs.open(data.into()),
            error: link.outputs.open_text(error.into()),
        });
    }
    Ok(forwards)
}

#[cfg(test)]
mod tests;
