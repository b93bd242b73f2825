//! A WebSocket connection with the queues of its channels, polled by one task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError as WireError};

use super::channels::{Encoding, Incoming};
use crate::streaming::idle::Idle;
use crate::streaming::protocol::ProtocolError;
use crate::streaming::queues::{Inputs, Outputs, Piece};

/// The longest message that is read.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// Long messages are queued in pieces, so that the depth of a queue bounds its bytes.
const PIECE: usize = 32 * 1024;
/// While reading stands still pings are not seen. Clients of version 5 give up after 61 seconds of silence.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// How long a client has for its part of the closing.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) type Socket<IO> = WebSocketStream<IO>;

/// Frames on `io`, of which the handshake is over.
pub(super) async fn socket<IO: AsyncRead + AsyncWrite + Unpin>(io: IO) -> Socket<IO> {
    let config = WebSocketConfig::default()
        .read_buffer_size(PIECE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

pub(super) struct Link<IO> {
    socket: Socket<IO>,
    encoding: Encoding,
    /// Whether the client can close channels.
    closes: bool,
    pub(super) outputs: Outputs,
    pub(super) inputs: Inputs,
    /// The rest of a message that is being queued.
    arriving: Option<(u32, Bytes)>,
    unflushed: bool,
    idle: Idle,
    life: Interval,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Link<IO> {
    pub(super) async fn new(io: IO, encoding: Encoding, closes: bool, idle: Duration) -> Self {
        let mut life = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
        life.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            socket: socket(io).await,
            encoding,
            closes,
            outputs: Outputs::default(),
            inputs: Inputs::default(),
            arriving: None,
            unflushed: false,
            idle: Idle::new(idle),
            life,
        }
    }

    /// Serves all queues until the connection ends. Safe to cancel.
    pub(super) async fn serve(&mut self) -> ProtocolError {
        poll_fn(|cx| self.poll_end(cx)).await
    }

    /// Serves all queues until sessions have ended theirs, and everything is written.
    pub(super) async fn drain(&mut self) -> Result<(), ProtocolError> {
        poll_fn(|cx| match self.poll_end(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending if self.outputs.is_empty() && !self.unflushed => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Sends `bytes` on `channel` next; an empty message if there are none.
    pub(super) fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), ProtocolError> {
        let mut rest = bytes;
        loop {
            let (piece, later) = rest.split_at(rest.len().min(self.encoding.capacity()));
            let payload = self.encoding.encode(channel, piece);
            self.push(match self.encoding {
                Encoding::Binary => Message::Binary(payload.into()),
                Encoding::Base64 => Message::text(String::from_utf8_lossy(&payload).into_owned()),
            })?;
            rest = later;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    fn push(&mut self, message: Message) -> Result<(), ProtocolError> {
        self.unflushed = true;
        Pin::new(&mut self.socket).start_send(message).map_err(broken)
    }

    /// The normal end: closes, and waits a while for the client to do so.
    pub(super) async fn farewell(self) -> Result<(), ProtocolError> {
        self.close(CloseCode::Normal, "").await
    }

    /// The end after `error`, which the client is told if it can still hear it.
    pub(super) async fn fail(self, error: &ProtocolError) {
        let code = match error {
            ProtocolError::Broken(_) => return,
            // The client has closed, and wants its close answered.
            ProtocolError::Gone => CloseCode::Normal,
            ProtocolError::Idle(_) => CloseCode::Away,
            ProtocolError::Channel(_) => CloseCode::Invalid,
            _ => CloseCode::Protocol,
        };
        // It was to be a courtesy.
        let _ = self.close(code, &error.to_string()).await;
    }

    async fn close(mut self, code: CloseCode, reason: &str) -> Result<(), ProtocolError> {
        // A close frame has room for 123 bytes.
        let reason: String = reason.chars().filter(char::is_ascii).take(123).collect();
        // Fails if the client has closed already; then reading on answers it.
        let _ = self.push(Message::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        })));
        let closed = poll_fn(|cx| {
            let mut socket = Pin::new(&mut self.socket);
            if let Poll::Ready(Err(err)) = socket.as_mut().poll_flush(cx) {
                return Poll::Ready(Err(broken(err)));
            }
            loop {
                // What still comes is for a session that is over.
                match ready!(socket.as_mut().poll_next(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Ok(())),
                }
            }
        });
        // A client that does not answer is closed on.
        timeout(FAREWELL, closed).await.unwrap_or(Ok(()))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<ProtocolError> {
        loop {
            // One of each per round, so that neither direction starves the other.
            let sent = match self.poll_outputs(cx) {
                Ok(sent) => sent,
                Err(error) => return Poll::Ready(error),
            };
            match self.poll_input(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Ready(Ok(())) => {}
                Poll::Pending if sent => {}
                Poll::Pending => break,
            }
        }
        self.idle.poll(cx)
    }

    /// Takes one piece of the sessions' output once all before it is written; says whether there was one.
    fn poll_outputs(&mut self, cx: &mut Context<'_>) -> Result<bool, ProtocolError> {
        if self.unflushed {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(result) => result.map_err(broken)?,
                Poll::Pending => return Ok(false),
            }
            self.unflushed = false;
            self.idle.moved();
        }
        match self.outputs.poll_next(cx) {
            Poll::Ready((id, Piece::Data(bytes))) => {
                // Channels are opened with numbers below 256.
                self.send(u8::try_from(id).unwrap_or_default(), &bytes)?;
                Ok(true)
            }
            // There is no half-close towards the client.
            Poll::Ready((_, Piece::End)) => Ok(true),
            Poll::Pending => Ok(false),
        }
    }

    /// Reads and queues one piece.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProtocolError>> {
        if self.inputs.poll_ready(cx).is_pending() {
            if self.closes && !self.unflushed && self.life.poll_tick(cx).is_ready() {
                self.push(Message::Pong(Bytes::new()))?;
                return Poll::Ready(Ok(()));
            }
            return Poll::Pending;
        }
        if let Some((id, bytes)) = &mut self.arriving {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let id = *id;
            if bytes.is_empty() {
                self.arriving = None;
            }
            self.inputs.accept(id, piece);
            return Poll::Ready(Ok(()));
        }
        let payload = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(Message::Close(_))) | None => return Poll::Ready(Err(ProtocolError::Gone)),
            // Pings are answered by the crate; raw frames are never read.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Bytes::new(),
            Some(Err(err)) => return Poll::Ready(Err(broken(err))),
        };
        self.idle.moved();
        match self.encoding.decode(payload, self.closes)? {
            Some(Incoming::Data { channel, bytes }) if !bytes.is_empty() => {
                let id = u32::from(channel);
                if self.inputs.wants(id) {
                    self.arriving = Some((id, bytes));
                }
            }
            Some(Incoming::Close(channel)) => self.inputs.close(channel.into()),
            Some(Incoming::Data { .. }) | None => {}
        }
        Poll::Ready(Ok(()))
    }
}

pub(super) fn broken(error: Error) -> ProtocolError {
    match error {
        Error::Io(err) => ProtocolError::Broken(err),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(WireError::ResetWithoutClosingHandshake) => ProtocolError::Gone,
        other => ProtocolError::WebSocket(Box::new(other)),
    }
}
