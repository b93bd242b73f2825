//! The frames of SPDY/3.1: bytes in, frames out, and back.
//!
//! A data frame may be 16 MiB long; it is passed on in pieces as it comes, so memory is bounded by what was read.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest control frame that is read: header blocks here are some dozens of bytes.
pub const MAX_CONTROL: usize = 64 * 1024;

/// The longest piece of data in either direction, the size in which Go's clients read.
pub const PIECE: usize = 32 * 1024;

const VERSION: u16 = 3;
const HEADER: usize = 8;
const FIN: u8 = 0x01;
const UNIDIRECTIONAL: u8 = 0x02;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Why a stream was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// The peer did what it must not.
    Protocol = 1,
    /// There is no such stream.
    InvalidStream = 2,
    /// The stream is not wanted.
    Refused = 3,
    /// The stream is no longer wanted.
    Cancel = 5,
    /// It went wrong on this side.
    Internal = 6,
    /// The id is taken.
    InUse = 8,
    /// Data came after the end.
    AlreadyClosed = 9,
}

/// A frame, or a part of a data frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// Its number.
        id: u32,
        /// Whether the sender has already ended its half.
        fin: bool,
        /// Whether the receiver has no half.
        unidirectional: bool,
        /// Compressed headers.
        block: Bytes,
    },
    /// Accepts a stream.
    SynReply {
        /// Its number.
        id: u32,
        /// Whether the sender has already ended its half.
        fin: bool,
        /// Compressed headers.
        block: Bytes,
    },
    /// More headers.
    Headers {
        /// The stream's number.
        id: u32,
        /// Whether this ends the sender's half.
        fin: bool,
        /// Compressed headers.
        block: Bytes,
    },
    /// Ends both halves at once.
    RstStream {
        /// The stream's number.
        id: u32,
        /// The reason, a [`Status`] if the peer keeps to the specification.
        status: u32,
    },
    /// To be sent back.
    Ping(u32),
    /// No further streams are accepted.
    GoAway {
        /// The last stream that was accepted.
        last: u32,
        /// 0 when all is well.
        status: u32,
    },
    /// A kind that means nothing here: settings, windows, what is unknown.
    Ignored(u16),
    /// A piece of data.
    Data {
        /// The stream's number.
        id: u32,
        /// Whether this ends the sender's half.
        fin: bool,
        /// At most [`PIECE`] bytes when decoded.
        bytes: Bytes,
    },
}

/// What makes the rest of a connection unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not SPDY/3.
    #[error("a control frame of version {0} where 3 is spoken")]
    Version(u16),
    /// More than [`MAX_CONTROL`].
    #[error("a control frame of type {kind} with {length} bytes, of which at most {MAX_CONTROL} are read")]
    TooLong {
        /// The type of the frame.
        kind: u16,
        /// The length it claims.
        length: usize,
    },
    /// Less than the type needs.
    #[error("a control frame of type {kind} with only {length} bytes")]
    TooShort {
        /// The type of the frame.
        kind: u16,
        /// The length it has.
        length: usize,
    },
}

/// Finds the frames in what was read.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// The data frame whose rest has not come yet.
    data: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    id: u32,
    fin: bool,
    length: usize,
}

impl Decoder {
    /// Where to put what was read.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame, or `None` until more was read. After an error nothing can be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(rest) = &mut self.data {
            let length = rest.length.min(PIECE).min(self.buffer.len());
            if length == 0 {
                return Ok(None);
            }
            rest.length -= length;
            let done = rest.length == 0;
            let frame = Frame::Data {
                id: rest.id,
                fin: done && rest.fin,
                bytes: self.buffer.split_to(length).freeze(),
            };
            if done {
                self.data = None;
            }
            return Ok(Some(frame));
        }
        let Some(mut header) = self.buffer.get(..HEADER) else {
            return Ok(None);
        };
        let word = header.get_u32();
        let flags_and_length = header.get_u32();
        let (flags, length) = (
            (flags_and_length >> 24) as u8,
            (flags_and_length & 0x00ff_ffff) as usize,
        );
        if word >> 31 == 0 {
            self.buffer.advance(HEADER);
            let fin = flags & FIN != 0;
            if length == 0 {
                return Ok(Some(Frame::Data {
                    id: word,
                    fin,
                    bytes: Bytes::new(),
                }));
            }
            self.data = Some(Rest {
                id: word,
                fin,
                length,
            });
            return self.next_frame();
        }
        let (version, kind) = ((word >> 16) as u16 & 0x7fff, word as u16);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if length > MAX_CONTROL {
            return Err(FrameError::TooLong { kind, length });
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        control(kind, flags, self.buffer.split_to(length).freeze()).map(Some)
    }
}

fn control(kind: u16, flags: u8, mut payload: Bytes) -> Result<Frame, FrameError> {
    let length = payload.len();
    let need = |least| {
        if length < least {
            Err(FrameError::TooShort { kind, length })
        } else {
            Ok(())
        }
    };
    let fin = flags & FIN != 0;
    Ok(match kind {
        SYN_STREAM => {
            need(10)?;
            let id = payload.get_u32() & ID;
            // The associated stream, the priority and the slot: nobody uses them.
            payload.advance(6);
            Frame::SynStream {
                id,
                fin,
                unidirectional: flags & UNIDIRECTIONAL != 0,
                block: payload,
            }
        }
        SYN_REPLY => {
            need(4)?;
            Frame::SynReply {
                id: payload.get_u32() & ID,
                fin,
                block: payload,
            }
        }
        HEADERS => {
            need(4)?;
            Frame::Headers {
                id: payload.get_u32() & ID,
                fin,
                block: payload,
            }
        }
        RST_STREAM => {
            need(8)?;
            Frame::RstStream {
                id: payload.get_u32() & ID,
                status: payload.get_u32(),
            }
        }
        PING => {
            need(4)?;
            Frame::Ping(payload.get_u32())
        }
        GOAWAY => {
            need(8)?;
            Frame::GoAway {
                last: payload.get_u32() & ID,
                status: payload.get_u32(),
            }
        }
        other => Frame::Ignored(other),
    })
}

/// Stream numbers have 31 bits.
pub(super) const ID: u32 = 0x7fff_ffff;

impl Frame {
    /// Appends the frame. Data must be no longer than a frame can be, blocks no longer than [`MAX_CONTROL`].
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::SynStream {
                id,
                fin,
                unidirectional,
                block,
            } => {
                let flags = (u8::from(*fin) * FIN) | (u8::from(*unidirectional) * UNIDIRECTIONAL);
                head(out, SYN_STREAM, flags, 10 + block.len());
                out.put_u32(*id);
                out.put_bytes(0, 6);
                out.put_slice(block);
            }
            Self::SynReply { id, fin, block } => {
                head(out, SYN_REPLY, u8::from(*fin) * FIN, 4 + block.len());
                out.put_u32(*id);
                out.put_slice(block);
            }
            Self::Headers { id, fin, block } => {
                head(out, HEADERS, u8::from(*fin) * FIN, 4 + block.len());
                out.put_u32(*id);
                out.put_slice(block);
            }
            Self::RstStream { id, status } => {
                head(out, RST_STREAM, 0, 8);
                out.put_u32(*id);
                out.put_u32(*status);
            }
            Self::Ping(id) => {
                head(out, PING, 0, 4);
                out.put_u32(*id);
            }
            Self::GoAway { last, status } => {
                head(out, GOAWAY, 0, 8);
                out.put_u32(*last);
                out.put_u32(*status);
            }
            Self::Ignored(kind) => head(out, *kind, 0, 0),
            Self::Data { id, fin, bytes } => {
                out.put_u32(*id & ID);
                out.put_u32((u32::from(u8::from(*fin) * FIN) << 24) | bytes.len() as u32);
                out.put_slice(bytes);
            }
        }
    }
}

fn head(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    out.put_u32((u32::from(flags) << 24) | length as u32);
}

#[cfg(test)]
mod tests;
