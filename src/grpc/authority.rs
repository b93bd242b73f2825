//! Repairs the `:authority` header of clients that speak gRPC over a unix socket.
//!
//! Many gRPC libraries (Python, Java, C++, old Go) derive `:authority` from the socket's path: they send
//! `/var/run/x.sock`, `%2Fvar%2Frun%2Fx.sock`, or nothing. None of these is an authority, and h2, below
//! tonic, answers with a reset before any of our code sees the call (hyperium/h2 487). So a filter sits between
//! the socket and hyper, which follows the framing of HTTP/2 and rewrites that one header.
//!
//! What it does not understand it passes on unchanged: h2 is the judge of malformed input.
//!
//! Two things that HTTP/2 allows are left alone, because no client does them. An authority whose name is an index
//! into the dynamic table: encoders find the name in the static table, which comes first (RFC 7541, 2.3.3). And
//! an illegal authority after a legal one: libraries derive it from the channel's target, so that it stays the same
//! on a connection. Such a call is reset as it would be without us.

mod hpack;
mod huffman;
mod stream;

use hpack::Finding;
pub use stream::Repaired;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
/// The largest frame that a peer may send unless told otherwise, and we never tell it otherwise.
const MAX_PAYLOAD: usize = 16_384;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The filter as a value: bytes of a client in, bytes for the HTTP/2 decoder out.
///
/// It holds back at most one HEADERS frame. It ends its work for good with the first authority that is
/// legal, because a client names the same one in all its calls.
#[derive(Debug)]
pub struct Filter {
    state: State,
    /// The start of a frame whose rest decides what becomes of it.
    held: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// So many bytes of the connection preface have passed.
    Preface(usize),
    /// A frame header is being collected.
    FrameHeader,
    /// So many bytes of a payload are still to pass.
    Payload(usize),
    /// A HEADERS frame is being collected, up to so many bytes with its header.
    HeadersFrame(usize),
    /// Nothing is left to repair.
    Through,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            state: State::Preface(0),
            held: Vec::new(),
        }
    }
}

impl Filter {
    /// Takes the next bytes of the client and appends to `out` what may go on.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            match self.state {
                State::Preface(passed) => {
                    let expected = &PREFACE[passed..];
                    let taken = take(&mut input, expected.len());
                    out.extend_from_slice(taken);
                    self.state = if !expected.starts_with(taken) {
                        State::Through
                    } else if taken.len() == expected.len() {
                        State::FrameHeader
                    } else {
                        State::Preface(passed + taken.len())
                    };
                }
                State::FrameHeader => {
                    self.held
                        .extend_from_slice(take(&mut input, FRAME_HEADER - self.held.len()));
                    if self.held.len() == FRAME_HEADER {
                        self.frame_begins(out);
                    }
                }
                State::Payload(left) => {
                    let taken = take(&mut input, left);
                    out.extend_from_slice(taken);
                    self.state = after_payload(left - taken.len());
                }
                State::HeadersFrame(size) => {
                    self.held
                        .extend_from_slice(take(&mut input, size - self.held.len()));
                    if self.held.len() == size {
                        self.headers_end(out);
                    }
                }
                State::Through => {
                    out.extend_from_slice(input);
                    return;
                }
            }
        }
    }

    /// The client has closed: what was held back goes on as it is.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.state = State::Through;
    }

    /// Whether the client may still be about to send the connection preface.
    fn awaits_preface(&self) -> bool {
        matches!(self.state, State::Preface(_))
    }

    /// Whether everything from here on passes unchanged, so that the filter can be left out.
    pub fn is_through(&self) -> bool {
        matches!(self.state, State::Through)
    }

    fn frame_begins(&mut self, out: &mut Vec<u8>) {
        let length = self.held[..3]
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        // h2 refuses a frame above the maximum by its header alone; there is no need to hold it.
        if self.held[3] == HEADERS && (1..=MAX_PAYLOAD).contains(&length) {
            self.state = State::HeadersFrame(FRAME_HEADER + length);
        } else {
            out.append(&mut self.held);
            self.state = after_payload(length);
        }
    }

    fn headers_end(&mut self, out: &mut Vec<u8>) {
        self.state = State::FrameHeader;
        match repair(&self.held) {
            Some((Finding::Legal, _)) => self.state = State::Through,
            // A frame that the repair pushes over the limit stays as it was. That takes metadata of
            // almost 16 KiB, which no CRI call carries, and h2 then answers as it does without us.
            Some((Finding::Repaired(_), Some(frame))) => {
                self.held.clear();
                out.extend_from_slice(&frame);
            }
            _ => {}
        }
        out.append(&mut self.held);
    }
}

/// Looks into a whole HEADERS frame; `None` if its parts do not fit its length.
///
/// A block that goes on in CONTINUATION frames needs no special care: the pseudo headers come first, so
/// they are in this frame, and the frames that follow pass as they are.
fn repair(frame: &[u8]) -> Option<(Finding, Option<Vec<u8>>)> {
    let (header, payload) = frame.split_at_checked(FRAME_HEADER)?;
    let flags = header[4];
    let padding = if flags & PADDED != 0 {
        usize::from(*payload.first()?)
    } else {
        0
    };
    let start = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
    let end = payload.len().checked_sub(padding)?;
    let finding = hpack::examine(payload.get(start..end)?, flags & END_HEADERS != 0);
    let Finding::Repaired(block) = &finding else {
        return Some((finding, None));
    };
    let length = start + block.len() + padding;
    let frame = (length <= MAX_PAYLOAD).then(|| {
        let length = (length as u32).to_be_bytes();
        [
            &length[1..],
            &header[3..],
            &payload[..start],
            block,
            &payload[end..],
        ]
        .concat()
    });
    Some((finding, frame))
}

fn after_payload(left: usize) -> State {
    if left == 0 {
        State::FrameHeader
    } else {
        State::Payload(left)
    }
}

/// Cuts up to `limit` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], limit: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(limit.min(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests;
