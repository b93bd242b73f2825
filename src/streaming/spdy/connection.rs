//! A SPDY/3.1 connection without its socket: bytes in, events out; commands in, bytes out.
//!
//! There are no flow-control windows: Go's spdystream, the peer of every CRI runtime, neither sends nor heeds
//! `WINDOW_UPDATE`, and whoever waited for one would hang after 64 KiB. TCP's own back-pressure has to do.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::frame::{Decoder, Frame, FrameError, ID, PIECE, Status};
use super::headers::{HeaderError, Headers, Packer, Unpacker};

/// The most streams at a time: a port-forward takes two per TCP connection.
const MAX_STREAMS: usize = 2048;

/// Which side this is: clients number their streams and pings oddly, servers evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Odd numbers.
    Client,
    /// Even numbers.
    Server,
}

/// What the peer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It opened a stream, which wants [`Connection::accept`] or [`Connection::reset`].
    Opened {
        /// The stream.
        id: u32,
        /// What it is for.
        headers: Headers,
    },
    /// It accepted a stream.
    Accepted(u32),
    /// Data came.
    Data {
        /// The stream.
        id: u32,
        /// Never empty, and at most [`PIECE`] bytes.
        bytes: Bytes,
    },
    /// It will send nothing more on this stream.
    Finished(u32),
    /// It reset a stream, of which both halves are over.
    Reset(u32),
    /// It answered a ping.
    Pong(u32),
    /// It wants no new streams.
    GoAway,
}

/// What ends a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// An unreadable frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An unreadable header block: the compression of all later ones builds on it.
    #[error(transparent)]
    Headers(#[from] HeaderError),
}

/// The state of a connection.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    decoder: Decoder,
    unpacker: Unpacker,
    packer: Packer,
    streams: HashMap<u32, Stream>,
    /// The highest stream of the peer so far: a new one must be higher.
    last: u32,
    /// The next number of our own.
    next: u32,
    /// The number that was last reset without ever having been a stream's.
    invalid: Option<u32>,
    events: VecDeque<Event>,
    output: BytesMut,
    leaving: bool,
}

#[derive(Debug, Default)]
struct Stream {
    accepted: bool,
    /// Whether our half is over.
    sent: bool,
    /// Whether the peer's half is over.
    received: bool,
}

impl Connection {
    /// A connection on which nothing was sent yet.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            decoder: Decoder::default(),
            unpacker: Unpacker::default(),
            packer: Packer::default(),
            streams: HashMap::new(),
            last: 0,
            next: if role == Role::Client { 1 } else { 2 },
            invalid: None,
            events: VecDeque::new(),
            output: BytesMut::new(),
            leaving: false,
        }
    }

    /// Where to put what was read from the socket.
    pub const fn input(&mut self) -> &mut BytesMut {
        self.decoder.buffer()
    }

    /// What is to be written to the socket; take what was written off its front.
    pub const fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// The next thing the peer did, or `None` until more was read.
    ///
    /// After an error the connection is over; a `GOAWAY` that says so is in the output.
    pub fn next_event(&mut self) -> Result<Option<Event>, ConnectionError> {
        let result = self.advance();
        if result.is_err() {
            self.go_away(1);
        }
        result
    }

    fn advance(&mut self) -> Result<Option<Event>, ConnectionError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.decoder.next_frame()? else {
                return Ok(None);
            };
            self.receive(frame)?;
        }
    }

    fn receive(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        match frame {
            Frame::SynStream {
                id,
                fin,
                unidirectional,
                block,
            } => {
                let headers = self.unpacker.unpack(&block)?;
                self.open_by_peer(id, headers, unidirectional);
                if fin {
                    self.finished_by_peer(id);
                }
            }
            Frame::SynReply { id, fin, block } => {
                self.unpacker.unpack(&block)?;
                let own = self.is_own(id);
                match self.streams.get_mut(&id) {
                    Some(stream) if own && !stream.accepted => {
                        stream.accepted = true;
                        self.events.push_back(Event::Accepted(id));
                    }
                    Some(_) => self.fail(id, Status::InUse),
                    None => self.unknown(id),
                }
                if fin {
                    self.finished_by_peer(id);
                }
            }
            Frame::Headers { id, fin, block } => {
                self.unpacker.unpack(&block)?;
                if fin {
                    self.finished_by_peer(id);
                }
            }
            Frame::RstStream { id, .. } => {
                if self.streams.remove(&id).is_some() {
                    self.events.push_back(Event::Reset(id));
                }
            }
            Frame::Ping(id) if self.is_own(id) => self.events.push_back(Event::Pong(id)),
            Frame::Ping(id) => Frame::Ping(id).encode(&mut self.output),
            Frame::GoAway { .. } => self.events.push_back(Event::GoAway),
            Frame::Ignored(kind) => tracing::trace!(kind, "ignored a SPDY frame"),
            Frame::Data { id, fin, bytes } => {
                match self.streams.get(&id) {
                    Some(Stream { received: false, .. }) if bytes.is_empty() => {}
                    Some(Stream { received: false, .. }) => self.events.push_back(Event::Data { id, bytes }),
                    Some(_) => self.fail(id, Status::AlreadyClosed),
                    None => self.unknown(id),
                }
                if fin {
                    self.finished_by_peer(id);
                }
            }
        }
        Ok(())
    }

    fn open_by_peer(&mut self, id: u32, headers: Headers, unidirectional: bool) {
        if id == 0 || self.is_own(id) || id <= self.last {
            self.fail(id, Status::Protocol);
            return;
        }
        self.last = id;
        if self.leaving || self.streams.len() >= MAX_STREAMS {
            self.fail(id, Status::Refused);
            return;
        }
        self.streams.insert(
            id,
            Stream {
                sent: unidirectional,
                ..Stream::default()
            },
        );
        self.events.push_back(Event::Opened { id, headers });
    }

    fn finished_by_peer(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.received
        {
            stream.received = true;
            self.events.push_back(Event::Finished(id));
            self.forget_if_over(id);
        }
    }

    /// Something came on a stream that is not there. If it was there once, the peer did not know yet.
    fn unknown(&mut self, id: u32) {
        let never = if self.is_own(id) {
            id >= self.next
        } else {
            id > self.last
        };
        // A long frame comes in pieces, which want one answer.
        if never && self.invalid.replace(id) != Some(id) {
            self.fail(id, Status::InvalidStream);
        }
    }

    /// Resets a stream the peer did wrong on, and tells the user of the connection, if it knew of the stream.
    fn fail(&mut self, id: u32, status: Status) {
        if self.streams.remove(&id).is_some() {
            self.events.push_back(Event::Reset(id));
        }
        Frame::RstStream {
            id,
            status: status as u32,
        }
        .encode(&mut self.output);
    }

    const fn is_own(&self, id: u32) -> bool {
        let odd = id % 2 == 1;
        match self.role {
            Role::Client => odd,
            Role::Server => !odd,
        }
    }

    fn forget_if_over(&mut self, id: u32) {
        if matches!(
            self.streams.get(&id),
            Some(Stream {
                sent: true,
                received: true,
                ..
            })
        ) {
            self.streams.remove(&id);
        }
    }

    /// Opens a stream. `None` once all numbers are used up.
    pub fn open(&mut self, headers: &Headers) -> Option<u32> {
        let id = self.next;
        if id > ID {
            return None;
        }
        let block = self.packer.pack(headers);
        self.next += 2;
        self.streams.insert(id, Stream::default());
        Frame::SynStream {
            id,
            fin: false,
            unidirectional: false,
            block,
        }
        .encode(&mut self.output);
        Some(id)
    }

    /// Accepts a stream of the peer. Go's peer throws away data that comes before.
    pub fn accept(&mut self, id: u32) {
        if self.is_own(id) {
            return;
        }
        match self.streams.get_mut(&id) {
            Some(stream) if !stream.accepted => stream.accepted = true,
            _ => return,
        }
        let block = self.packer.pack(&Headers::default());
        Frame::SynReply {
            id,
            fin: false,
            block,
        }
        .encode(&mut self.output);
    }

    /// Sends data. Returns `false`, and sends nothing, if our half of the stream is over.
    pub fn send(&mut self, id: u32, bytes: &Bytes) -> bool {
        self.accept(id);
        if !matches!(self.streams.get(&id), Some(Stream { sent: false, .. })) {
            return false;
        }
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let bytes = rest.split_to(rest.len().min(PIECE));
            Frame::Data {
                id,
                fin: false,
                bytes,
            }
            .encode(&mut self.output);
        }
        true
    }

    /// Ends our half of a stream.
    pub fn finish(&mut self, id: u32) {
        self.accept(id);
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.sent
        {
            stream.sent = true;
            Frame::Data {
                id,
                fin: true,
                bytes: Bytes::new(),
            }
            .encode(&mut self.output);
            self.forget_if_over(id);
        }
    }

    /// Ends both halves of a stream. No event tells of it.
    pub fn reset(&mut self, id: u32, status: Status) {
        // The end of one that was opened and finished at once is waiting still.
        self.events.retain(|event| *event != Event::Finished(id));
        if self.streams.remove(&id).is_some() {
            Frame::RstStream {
                id,
                status: status as u32,
            }
            .encode(&mut self.output);
        }
    }

    /// Resets all streams.
    pub fn reset_all(&mut self, status: Status) {
        let mut ids: Vec<u32> = self.streams.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.reset(id, status);
        }
    }

    /// Sends a ping; the answer is [`Event::Pong`]. `id` must have our parity.
    pub fn ping(&mut self, id: u32) {
        Frame::Ping(id).encode(&mut self.output);
    }

    /// Accepts no further streams, and says so. Status 0 is a normal end, 1 a protocol error.
    pub fn go_away(&mut self, status: u32) {
        if !self.leaving {
            self.leaving = true;
            Frame::GoAway {
                last: self.last,
                status,
            }
            .encode(&mut self.output);
        }
    }
}

#[cfg(test)]
mod tests;
