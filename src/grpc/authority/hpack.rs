//! The HPACK side of the repair: walks the instructions of one header block (RFC 7541, section 6)
//! and rewrites an `:authority` that the HTTP/2 decoder would refuse.
//!
//! Neither side's dynamic table is tracked. None need be: an instruction is rewritten only such that
//! it leaves an entry of the same name and the same size (or, as before, no entry), so both
//! tables evict alike and every later index means the same header on both sides.

use std::borrow::Cow;

use tonic::codegen::http::uri::Authority;

use super::huffman;

const NAME: &[u8] = b":authority";
/// Where the static table has `:authority` with an empty value.
const STATIC_INDEX: usize = 1;
/// Stands for an empty authority; what grpc-go and the kubelet say today.
const DEFAULT: &[u8] = b"localhost";
/// Longest integer read. Header blocks are far shorter, so a larger one is malformed anyway.
const MAX_INTEGER: usize = 1 << 24;

/// What a header block said about the authority.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A legal one, spelled out.
    Legal,
    /// An illegal one; this block says the same with a legal one.
    Repaired(Vec<u8>),
    /// Nothing that could be changed: it is absent, named by index, beyond cure, or the block is
    /// malformed.
    Nothing,
}

/// Why an instruction could not be read.
enum Broken {
    /// The block ends inside it.
    Short,
    Malformed,
}

/// How a literal is kept: the bits in front of its name index, and their number's complement.
#[derive(Clone, Copy)]
enum Keep {
    Indexed,
    Not,
    Never,
}

enum Instruction<'a> {
    /// `:authority` with an empty value, by its static index.
    EmptyAuthority,
    Authority {
        keep: Keep,
        value: Cow<'a, [u8]>,
    },
    Other,
}

/// Judges the `fragment` of a header block. `whole` says that the block ends with it; otherwise the
/// last instruction may be cut off, and is kept as it is.
pub(super) fn examine(fragment: &[u8], whole: bool) -> Finding {
    let mut cursor = Cursor(fragment);
    let mut rewritten = Vec::with_capacity(fragment.len() + DEFAULT.len());
    let (mut legal, mut changed) = (false, false);
    while !cursor.0.is_empty() {
        let before = cursor.0;
        let instruction = match cursor.instruction() {
            Ok(instruction) => instruction,
            Err(Broken::Short) if !whole => {
                rewritten.extend_from_slice(before);
                break;
            }
            Err(_) => return Finding::Nothing,
        };
        match instruction {
            Instruction::EmptyAuthority => {
                put_authority(&mut rewritten, Keep::Not, DEFAULT);
                changed = true;
            }
            Instruction::Authority { keep, value } => match cure(keep, &value) {
                Some(cured) => {
                    put_authority(&mut rewritten, keep, &cured);
                    changed = true;
                }
                None => {
                    rewritten.extend_from_slice(&before[..before.len() - cursor.0.len()]);
                    legal |= !value.is_empty();
                }
            },
            Instruction::Other => rewritten.extend_from_slice(&before[..before.len() - cursor.0.len()]),
        }
    }
    match (changed, legal) {
        (true, _) => Finding::Repaired(rewritten),
        (false, true) => Finding::Legal,
        (false, false) => Finding::Nothing,
    }
}

/// The legal value to send in place of `value`; `None` where it may stay, or has to.
///
/// An empty value that enters the dynamic table has to: any other value would make a larger entry,
/// and an entry less would shift all others. No client is known to send that, since the static
/// table has the empty authority ready.
fn cure(keep: Keep, value: &[u8]) -> Option<Vec<u8>> {
    if value.is_empty() {
        return matches!(keep, Keep::Not | Keep::Never).then(|| DEFAULT.to_vec());
    }
    // The judge is the parser that the HTTP/2 decoder itself asks.
    if Authority::try_from(value).is_ok() {
        return None;
    }
    // Only unreserved characters stay, so that what the others meant (a port, a user) cannot matter.
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    Some(
        value
            .iter()
            .map(|byte| if keep(byte) { *byte } else { b'-' })
            .collect(),
    )
}

fn put_authority(block: &mut Vec<u8>, keep: Keep, value: &[u8]) {
    let (pattern, bits) = match keep {
        Keep::Indexed => (0b0100_0000, 6),
        Keep::Not => (0b0000_0000, 4),
        Keep::Never => (0b0001_0000, 4),
    };
    put_integer(block, pattern, bits, STATIC_INDEX);
    put_integer(block, 0, 7, value.len());
    block.extend_from_slice(value);
}

/// Appends `value` with a prefix of `bits` bits, below the bits of `pattern`.
pub(super) fn put_integer(block: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let limit = (1 << bits) - 1;
    if value < limit {
        block.push(pattern | value as u8);
        return;
    }
    block.push(pattern | limit as u8);
    let mut rest = value - limit;
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// What is left to read of a block.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn instruction(&mut self) -> Result<Instruction<'a>, Broken> {
        let first = *self.0.first().ok_or(Broken::Short)?;
        let (keep, bits) = match first {
            0b1000_0000.. => {
                return Ok(match self.integer(7)? {
                    STATIC_INDEX => Instruction::EmptyAuthority,
                    _ => Instruction::Other,
                });
            }
            0b0100_0000.. => (Keep::Indexed, 6),
            0b0010_0000.. => {
                self.integer(5)?;
                return Ok(Instruction::Other);
            }
            0b0001_0000.. => (Keep::Never, 4),
            _ => (Keep::Not, 4),
        };
        let named = match self.integer(bits)? {
            0 => *self.string()?.decode()? == *NAME,
            index => index == STATIC_INDEX,
        };
        let value = self.string()?;
        Ok(if named {
            Instruction::Authority {
                keep,
                value: value.decode()?,
            }
        } else {
            Instruction::Other
        })
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let (first, rest) = self.0.split_first().ok_or(Broken::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    fn integer(&mut self, bits: u32) -> Result<usize, Broken> {
        let limit = (1 << bits) - 1;
        let mut value = usize::from(self.byte()?) & limit;
        if value < limit {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if value > MAX_INTEGER {
                return Err(Broken::Malformed);
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken::Malformed)
    }

    fn string(&mut self) -> Result<Text<'a>, Broken> {
        let huffman = self.0.first().ok_or(Broken::Short)? & 0x80 != 0;
        let length = self.integer(7)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Broken::Short)?;
        self.0 = rest;
        Ok(Text { huffman, bytes })
    }
}

/// A string as it was sent.
struct Text<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

impl<'a> Text<'a> {
    fn decode(self) -> Result<Cow<'a, [u8]>, Broken> {
        if !self.huffman {
            return Ok(Cow::Borrowed(self.bytes));
        }
        huffman::decode(self.bytes)
            .map(Cow::Owned)
            .ok_or(Broken::Malformed)
    }
}
