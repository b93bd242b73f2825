//! Pieces of an answer that are lost, doubled and exchanged.

use bytes::{Bytes, BytesMut};

/// Decides by a sequence of numbers that its seed determines.
pub(super) struct Garble {
    random: u64,
    /// A piece that comes after the next one.
    held: Option<Bytes>,
}

impl Garble {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed | 1,
            held: None,
        }
    }

    /// What is passed on at the arrival of `piece`.
    pub(super) fn next(&mut self, piece: &Bytes) -> Bytes {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let mut passed = BytesMut::new();
        match self.random % 8 {
            0 => {}
            1 => {
                passed.extend_from_slice(piece);
                passed.extend_from_slice(piece);
            }
            2 if self.held.is_none() => {
                self.held = Some(piece.clone());
                return Bytes::new();
            }
            _ => passed.extend_from_slice(piece),
        }
        passed.extend(self.held.take());
        passed.freeze()
    }
}
