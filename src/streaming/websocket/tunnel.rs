//! A byte stream within binary messages, for SPDY in WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::link::{Socket, broken, socket};
use crate::streaming::protocol::ProtocolError;

/// As long as clients read messages.
const MAX_MESSAGE: usize = 32 * 1024;

/// The bytes of all messages in a row. Ends when the client closes.
pub struct Tunnel<IO> {
    socket: Socket<IO>,
    /// What of the last message was not read yet.
    unread: Bytes,
}

/// A tunnel on a connection of which the handshake is over.
pub async fn tunnel<IO: AsyncRead + AsyncWrite + Unpin>(io: IO) -> Tunnel<IO> {
    Tunnel {
        socket: socket(io).await,
        unread: Bytes::new(),
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tunnel<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            self.unread = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => text.into(),
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => continue,
                Some(Err(err)) => match failure(err) {
                    // As with TCP, the end of the connection is the end of the stream.
                    err if err.kind() == io::ErrorKind::NotConnected => return Poll::Ready(Ok(())),
                    err => return Poll::Ready(Err(err)),
                },
            };
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(self.unread.get(..length).unwrap_or_default());
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tunnel<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(failure)?;
        let piece = buf.get(..MAX_MESSAGE).unwrap_or(buf);
        socket
            .start_send(Message::Binary(Bytes::copy_from_slice(piece)))
            .map_err(failure)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(failure)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(failure)
    }
}

fn failure(error: Error) -> io::Error {
    match broken(error) {
        ProtocolError::Broken(err) => err,
        ProtocolError::Gone => io::ErrorKind::NotConnected.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

#[cfg(test)]
mod tests;
