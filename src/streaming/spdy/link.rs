//! A SPDY connection with its socket and the queues of its sessions, polled by one task.
//!
//! Reading and writing go on side by side: a client that reads nothing still gets its data taken, and one whose
//! stdin nobody reads still gets output. Only a full queue stops the reading, and with it TCP stops the client.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::connection::{Connection, Event, Role};
use super::frame::{PIECE, Status};
use crate::streaming::idle::Idle;
use crate::streaming::protocol::ProtocolError;
use crate::streaming::queues::{Inputs, Outputs, Piece};

/// Sessions' output is taken as long as less than this waits for the socket.
const OUTPUT_LOW: usize = 64 * 1024;
/// The socket is read as long as less than this waits: a flood of pings must not fill the memory with answers.
const OUTPUT_HIGH: usize = 1024 * 1024;
/// How long a client has for closing the connection itself once all is said.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a client that failed has for taking the news.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Link<IO> {
    io: IO,
    pub(super) connection: Connection,
    pub(super) outputs: Outputs,
    pub(super) inputs: Inputs,
    /// Whether something was written since the last flush.
    unflushed: bool,
    idle: Idle,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Link<IO> {
    /// `first` is what was read of `io` before.
    pub(super) fn new(io: IO, first: &[u8], role: Role, idle: Duration) -> Self {
        let mut connection = Connection::new(role);
        connection.input().extend_from_slice(first);
        Self {
            io,
            connection,
            outputs: Outputs::default(),
            inputs: Inputs::default(),
            unflushed: false,
            idle: Idle::new(idle),
        }
    }

    /// Serves all queues until the peer does something its user must know of. Safe to cancel.
    ///
    /// Data goes to [`Self::inputs`]; only that of streams without one is an event.
    pub(super) async fn next(&mut self) -> Result<Event, ProtocolError> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Serves all queues until sessions have ended theirs, and everything is written. Refuses new streams.
    pub(super) async fn drain(&mut self) -> Result<(), ProtocolError> {
        poll_fn(|cx| {
            loop {
                match self.poll_event(cx)? {
                    Poll::Ready(Event::Opened { id, .. }) => self.connection.reset(id, Status::Refused),
                    Poll::Ready(_) => {}
                    Poll::Pending => break,
                }
            }
            if self.outputs.is_empty() && self.connection.output().is_empty() && !self.unflushed {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// The normal end: says goodbye, and gives the client time to close.
    ///
    /// Closing at once would lose what the client has not read yet, if something of it is still unread here:
    /// the kernel then resets the connection.
    pub(super) async fn farewell(mut self) -> Result<(), ProtocolError> {
        self.inputs = Inputs::default();
        self.connection.go_away(0);
        self.drain().await?;
        let closed = async { while self.next().await.is_ok() {} };
        // A client that stays is closed on.
        let _ = timeout(FAREWELL, closed).await;
        self.io.shutdown().await.map_err(ProtocolError::Broken)
    }

    /// The end after `error`: resets what is open, if the client can still hear it.
    pub(super) async fn fail(mut self, error: &ProtocolError) {
        if matches!(error, ProtocolError::Gone | ProtocolError::Broken(_)) {
            return;
        }
        self.connection.reset_all(Status::Cancel);
        self.connection.go_away(0);
        let _ = timeout(LAST_WORDS, async {
            self.io.write_all_buf(self.connection.output()).await?;
            self.io.shutdown().await
        })
        .await;
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, ProtocolError>> {
        loop {
            self.poll_write(cx)?;
            let unwritten = self.connection.output().len();
            // One of each per round, so that neither direction starves the other.
            let sent = self.poll_outputs(cx).is_ready();
            match self.poll_input(cx)? {
                Poll::Ready(Some(event)) => return Poll::Ready(Ok(event)),
                Poll::Ready(None) => {}
                // What came may have been answered at once, as pings are.
                Poll::Pending if sent || self.connection.output().len() > unwritten => {}
                Poll::Pending => break,
            }
        }
        self.idle.poll(cx).map(Err)
    }

    /// Writes what the socket takes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), ProtocolError> {
        let output = self.connection.output();
        while !output.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, output) {
                Poll::Ready(Ok(0)) => return Err(ProtocolError::Gone),
                Poll::Ready(Ok(written)) => {
                    output.advance(written);
                    self.unflushed = true;
                    self.idle.moved();
                }
                Poll::Ready(Err(err)) => return Err(ProtocolError::Broken(err)),
                Poll::Pending => return Ok(()),
            }
        }
        if self.unflushed
            && let Poll::Ready(result) = Pin::new(&mut self.io).poll_flush(cx)
        {
            result.map_err(ProtocolError::Broken)?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Takes one piece of the sessions' output.
    fn poll_outputs(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.connection.output().len() >= OUTPUT_LOW {
            // The socket wakes this task.
            return Poll::Pending;
        }
        match std::task::ready!(self.outputs.poll_next(cx)) {
            (id, Piece::Data(bytes)) => {
                if !self.connection.send(id, &bytes) {
                    self.outputs.remove(id);
                }
            }
            (id, Piece::End) => self.connection.finish(id),
        }
        Poll::Ready(())
    }

    /// Takes one event, or reads. `None` is progress without an event.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, ProtocolError>> {
        if self.connection.output().len() >= OUTPUT_HIGH {
            return Poll::Pending;
        }
        std::task::ready!(self.inputs.poll_ready(cx));
        if let Some(event) = self.connection.next_event()? {
            return Poll::Ready(Ok(match event {
                Event::Data { id, bytes } if self.inputs.wants(id) => {
                    self.inputs.accept(id, bytes);
                    None
                }
                Event::Finished(id) => {
                    self.inputs.close(id);
                    Some(event)
                }
                Event::Reset(id) => {
                    self.inputs.close(id);
                    self.outputs.remove(id);
                    Some(event)
                }
                event => Some(event),
            }));
        }
        let input = self.connection.input();
        input.reserve(PIECE);
        let read = std::task::ready!(pin!(self.io.read_buf(input)).poll(cx));
        if read.map_err(ProtocolError::Broken)? == 0 {
            return Poll::Ready(Err(ProtocolError::Gone));
        }
        self.idle.moved();
        Poll::Ready(Ok(None))
    }

    /// Sends `bytes` on stream `id`, whatever the queues hold.
    pub(super) fn send(&mut self, id: u32, bytes: &Bytes) {
        // Fails only if the client has reset the stream: then it does not want to know.
        let _ = self.connection.send(id, bytes);
    }
}
