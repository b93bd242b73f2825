//! Header blocks: name-value pairs in one zlib stream per direction, which lives as long as the connection.
//!
//! Each block ends with a sync flush, and its compression refers to all blocks before it, so every block that
//! comes must be read, even that of a stream nobody wants.

use bytes::{Buf, BufMut, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

use super::dictionary::DICTIONARY;

/// The longest block, once it is unpacked. The headers of one stream take about a hundred bytes.
const MAX_BLOCK: usize = 256 * 1024;
/// The most pairs in a block.
const MAX_PAIRS: u32 = 1000;

/// The headers of a stream. Names are lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// From pairs whose names are lower case, as SPDY wants them.
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        Self(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    /// The first value of the header `name`, which is given in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .0
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        // Several values are separated by NUL.
        value.split('\0').next()
    }
}

/// What makes a block, and with it all later ones, unreadable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// zlib cannot read it.
    #[error("header block cannot be decompressed: {0}")]
    Zlib(String),
    /// It unpacks to more than is read.
    #[error("header block is longer than {MAX_BLOCK} bytes")]
    TooLong,
    /// It has more pairs than are read.
    #[error("header block has {0} pairs, more than {MAX_PAIRS}")]
    TooMany(u32),
    /// Its lengths do not add up.
    #[error("header block ends within a pair")]
    Truncated,
    /// A name or value is no text.
    #[error("header block has a name or value that is not UTF-8")]
    NotText,
}

/// Unpacks the peer's blocks, in the order in which they came.
#[derive(Debug)]
pub struct Unpacker {
    zlib: Decompress,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self {
            zlib: Decompress::new(true),
        }
    }
}

impl Unpacker {
    /// Unpacks the next block. After an error no further block can be read.
    pub fn unpack(&mut self, block: &[u8]) -> Result<Headers, HeaderError> {
        parse(Bytes::from(self.inflate(block)?))
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, HeaderError> {
        let mut out = Vec::new();
        loop {
            out.reserve(1024);
            let (read, written) = (self.zlib.total_in(), out.len());
            let result = self.zlib.decompress_vec(block, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.zlib.total_in() - read).unwrap_or(usize::MAX);
            block = block.get(used..).unwrap_or_default();
            match result {
                Err(err) if err.needs_dictionary().is_some() => {
                    self.zlib
                        .set_dictionary(DICTIONARY)
                        .map_err(|err| HeaderError::Zlib(err.to_string()))?;
                    continue;
                }
                Err(err) => return Err(HeaderError::Zlib(err.to_string())),
                Ok(Status::StreamEnd) => {
                    return Err(HeaderError::Zlib("the peer ended its compression".to_owned()));
                }
                Ok(Status::Ok | Status::BufError) => {}
            }
            if out.len() > MAX_BLOCK {
                return Err(HeaderError::TooLong);
            }
            // Room left over means that nothing more is to come of what was read.
            if block.is_empty() && out.len() < out.capacity() {
                return Ok(out);
            }
            if used == 0 && out.len() == written {
                return Err(HeaderError::Zlib("no progress".to_owned()));
            }
        }
    }
}

fn parse(mut block: Bytes) -> Result<Headers, HeaderError> {
    if block.is_empty() {
        return Ok(Headers::default());
    }
    let count = block.try_get_u32().map_err(|_| HeaderError::Truncated)?;
    if count > MAX_PAIRS {
        return Err(HeaderError::TooMany(count));
    }
    let mut field = || -> Result<String, HeaderError> {
        let length = block.try_get_u32().map_err(|_| HeaderError::Truncated)? as usize;
        if block.len() < length {
            return Err(HeaderError::Truncated);
        }
        String::from_utf8(block.split_to(length).into()).map_err(|_| HeaderError::NotText)
    };
    (0..count)
        .map(|_| Ok((field()?.to_ascii_lowercase(), field()?)))
        .collect::<Result<_, _>>()
        .map(Headers)
}

/// What a zlib stream begins with that knows the dictionary: deflate, the flag for it, and its checksum.
const START: [u8; 6] = [0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2];
/// The longest piece that deflate stores as it is.
const STORED: usize = u16::MAX as usize;

/// Packs this side's blocks, in the order in which they are sent.
///
/// They are stored, not compressed: a server's have no headers at all, and a compressor would take 300 KB of
/// memory for each connection.
#[derive(Debug, Default)]
pub struct Packer {
    started: bool,
}

impl Packer {
    /// Packs the next block, which then must be sent.
    pub fn pack(&mut self, headers: &Headers) -> Bytes {
        let mut raw = Vec::new();
        raw.put_u32(headers.0.len() as u32);
        for field in headers.0.iter().flat_map(|(name, value)| [name, value]) {
            raw.put_u32(field.len() as u32);
            raw.put_slice(field.as_bytes());
        }
        let mut block = Vec::with_capacity(START.len() + raw.len() + 16);
        if !self.started {
            block.put_slice(&START);
            self.started = true;
        }
        // An empty piece at the end is the sync flush.
        for piece in raw.chunks(STORED).chain([&[][..]]) {
            let length = piece.len() as u16;
            block.put_u8(0);
            block.put_u16_le(length);
            block.put_u16_le(!length);
            block.put_slice(piece);
        }
        block.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use flate2::{Compress, Compression, FlushCompress};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// What Go's zlib made of three blocks in a row.
    #[test]
    fn blocks_of_the_go_peer_are_read_one_after_the_other() {
        let mut unpacker = Unpacker::default();
        let first = unpacker
            .inflate(&bytes(
                "78f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff",
            ))
            .unwrap();
        assert_eq!(
            first,
            bytes("000000010000000a73747265616d74797065000000056572726f72")
        );
        for (block, value) in [
            ("c22e555c02cc2e00000000ffff", "stdin"),
            ("c22a054ce729f9a52500000000ffff", "stdout"),
        ] {
            let headers = unpacker.unpack(&bytes(block)).unwrap();
            assert_eq!(headers, Headers::new(&[("streamtype", value)]));
        }
    }

    #[test]
    fn the_first_block_names_the_dictionary_and_each_ends_with_a_flush() {
        let mut packer = Packer::default();
        let first = packer.pack(&Headers::default());
        assert_eq!(&first[2..6], bytes("e3c6a7c2"));
        assert!(first[1] & 0x20 != 0, "the preset dictionary bit");
        let second = packer.pack(&Headers::default());
        for block in [first, second] {
            assert!(block.ends_with(&[0, 0, 0xff, 0xff]), "{block:?}");
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_the_first_of_several_values_counts() {
        let mut raw = Vec::new();
        for field in ["streamType", "error\0data"] {
            raw.put_u32(field.len() as u32);
            raw.put_slice(field.as_bytes());
        }
        let headers = parse([&1_u32.to_be_bytes()[..], &raw].concat().into()).unwrap();
        assert_eq!(headers.get("streamtype"), Some("error"));
        assert_eq!(headers.get("port"), None);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(DICTIONARY).unwrap();
        let mut block = Vec::with_capacity(50 * MAX_BLOCK);
        zlib.compress_vec(&vec![b'a'; 50 * MAX_BLOCK], &mut block, FlushCompress::Sync)
            .unwrap();
        assert!(block.len() < 64 * 1024);
        assert_eq!(Unpacker::default().unpack(&block), Err(HeaderError::TooLong));
    }

    #[test]
    fn lengths_that_lie_are_noticed() {
        assert_eq!(parse(Bytes::from_static(&[0, 0, 0])), Err(HeaderError::Truncated));
        assert_eq!(
            parse(Bytes::from_static(&[0, 0, 0, 1, 0, 0, 0, 9, b'x'])),
            Err(HeaderError::Truncated)
        );
        assert_eq!(
            parse(Bytes::from_static(&[0xff; 8])),
            Err(HeaderError::TooMany(u32::MAX))
        );
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(blocks in vec(vec(("[a-z:-]{1,20}", prop_oneof![9 => ".{0,600}", 1 => "x{70000}"]), 0..3), 1..6)) {
            let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
            for block in blocks {
                let headers = Headers(block);
                prop_assert_eq!(unpacker.unpack(&packer.pack(&headers)).unwrap(), headers);
            }
        }

        #[test]
        fn random_bytes_never_panic(noise in vec(any::<u8>(), 0..500), raw in vec(any::<u8>(), 0..100)) {
            let _ = Unpacker::default().unpack(&noise);
            let mut started = bytes("78f9e3c6a7c2");
            started.extend_from_slice(&noise);
            let mut unpacker = Unpacker::default();
            let _ = unpacker.unpack(&started);
            let _ = unpacker.unpack(&noise);
            let _ = parse(raw.into());
        }
    }
}
