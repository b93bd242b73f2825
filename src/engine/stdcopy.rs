//! The Engine's framing of stdout and stderr on one connection: bytes in, pieces out.
//!
//! Each frame is a stream number (1 stdout, 2 stderr, 3 an error of the Engine), three zero bytes, the
//! length as a big-endian `u32`, and that many bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Where a piece of output belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdStream {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// A message of the Engine about the stream itself.
    System,
}

/// Decodes frames whatever pieces they arrive in; holds at most one read's worth of bytes.
#[derive(Debug, Default)]
pub struct Stdcopy {
    buffer: BytesMut,
    frame: Option<(StdStream, usize)>,
}

const HEADER: usize = 8;

impl Stdcopy {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece of output, or `None` when more has to be read.
    ///
    /// A frame longer than what was read comes in several pieces. Fails on a frame header that the
    /// Engine does not send.
    pub fn piece(&mut self) -> Result<Option<(StdStream, Bytes)>, String> {
        loop {
            if let Some((stream, left)) = self.frame {
                if left == 0 {
                    self.frame = None;
                    continue;
                }
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                let piece = self.buffer.split_to(left.min(self.buffer.len())).freeze();
                self.frame = Some((stream, left - piece.len()));
                return Ok(Some((stream, piece)));
            }
            if self.buffer.len() < HEADER {
                return Ok(None);
            }
            let stream = match self.buffer[0] {
                // 0 is stdin in the Engine's numbering; it writes such frames to stdout.
                0 | 1 => StdStream::Stdout,
                2 => StdStream::Stderr,
                3 => StdStream::System,
                other => return Err(format!("output frame with stream number {other}")),
            };
            self.buffer.advance(4);
            self.frame = Some((stream, self.buffer.get_u32() as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).to_be_bytes());
        frame.extend_from_slice(bytes);
        frame
    }

    proptest! {
        #[test]
        fn output_is_the_same_however_it_is_cut(
            frames in prop::collection::vec((1u8..=2, prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            cut in 1usize..50,
        ) {
            let wire: Vec<u8> = frames.iter().flat_map(|(s, b)| frame(*s, b)).collect();
            let (mut decoder, mut out, mut err) = (Stdcopy::default(), Vec::new(), Vec::new());
            for piece in wire.chunks(cut) {
                decoder.push(piece);
                while let Some((stream, bytes)) = decoder.piece().map_err(TestCaseError::fail)? {
                    match stream {
                        StdStream::Stdout => out.extend_from_slice(&bytes),
                        _ => err.extend_from_slice(&bytes),
                    }
                }
            }
            let expect = |n| frames.iter().filter(|f| f.0 == n).flat_map(|f| f.1.clone()).collect::<Vec<u8>>();
            prop_assert_eq!(out, expect(1));
            prop_assert_eq!(err, expect(2));
        }
    }

    #[test]
    fn a_foreign_header_is_an_error() {
        let mut decoder = Stdcopy::default();
        decoder.push(b"HTTP/1.1 200 OK");
        assert!(decoder.piece().is_err());
    }
}
