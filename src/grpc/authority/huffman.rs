//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their
//! symbols, and each length starts where the shorter ones left off. So the lengths say everything.

/// The symbol that marks the end of a string; it only ever appears cut off, as padding.
const END: u16 = 256;
const SYMBOLS: usize = 257;
const LONGEST: usize = 30;

/// Bits in the code of each byte, and of the end mark.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8,
    7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7,
    7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23,
    24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22,
    23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24,
    20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
    27, 27, 27, 26, 30,
];

/// All codes of one length: `count` consecutive numbers from `first`, for the symbols from `start`.
#[derive(Clone, Copy)]
struct Row {
    first: u32,
    count: u32,
    start: usize,
}

const ROWS: [Row; LONGEST + 1] = rows();
const ORDERED: [u16; SYMBOLS] = ordered();

const fn rows() -> [Row; LONGEST + 1] {
    let mut rows = [Row {
        first: 0,
        count: 0,
        start: 0,
    }; LONGEST + 1];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        rows[LENGTHS[symbol] as usize].count += 1;
        symbol += 1;
    }
    let mut length = 1;
    while length <= LONGEST {
        let shorter = rows[length - 1];
        rows[length].first = (shorter.first + shorter.count) << 1;
        rows[length].start = shorter.start + shorter.count as usize;
        length += 1;
    }
    rows
}

const fn ordered() -> [u16; SYMBOLS] {
    let mut ordered = [0; SYMBOLS];
    let mut at = 0;
    let mut length = 1;
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                ordered[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    ordered
}

/// The bytes that `coded` stands for; `None` where it breaks the code's rules (an end mark
/// inside, padding of more than seven bits or of other bits than ones).
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(coded.len() * 8 / 5);
    let (mut code, mut length) = (0_u32, 0_usize);
    for byte in coded {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            length += 1;
            let row = ROWS.get(length)?;
            // A code that continues is larger than all codes of its present length.
            let Some(nth) = code.checked_sub(row.first).filter(|nth| *nth < row.count) else {
                continue;
            };
            let symbol = ORDERED[row.start + nth as usize];
            if symbol == END {
                return None;
            }
            decoded.push(symbol as u8);
            (code, length) = (0, 0);
        }
    }
    (length < 8 && code == (1 << length) - 1).then_some(decoded)
}

/// The other direction, which only tests need: the daemon writes plain strings.
#[cfg(test)]
pub(super) fn encode(plain: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    for byte in plain {
        let length = usize::from(LENGTHS[usize::from(*byte)]);
        let row = ROWS[length];
        let at = ORDERED
            .iter()
            .position(|symbol| *symbol == u16::from(*byte))
            .unwrap_or_default();
        let code = row.first + (at - row.start) as u32;
        bits.extend((0..length).rev().map(|shift| code >> shift & 1));
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    bits.chunks(8)
        .map(|chunk| chunk.iter().fold(0, |byte, bit| byte << 1 | *bit as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_code_is_complete() {
        let full: u64 = LENGTHS
            .iter()
            .map(|length| 1 << (LONGEST - usize::from(*length)))
            .sum();
        assert_eq!(full, 1 << LONGEST);
    }

    /// Strings and codes of RFC 7541, appendix C.
    #[test]
    fn published_examples() {
        let examples: [(&str, &[u8]); 4] = [
            (
                "www.example.com",
                b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            ),
            ("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            ("custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            ),
        ];
        for (plain, coded) in examples {
            assert_eq!(decode(coded).as_deref(), Some(plain.as_bytes()), "{plain}");
            assert_eq!(encode(plain.as_bytes()), coded, "{plain}");
        }
    }

    #[test]
    fn broken_codes_are_refused() {
        assert_eq!(decode(b""), Some(Vec::new()));
        assert_eq!(decode(b"\xff"), None, "eight bits of padding");
        assert_eq!(decode(b"\xff\xff\xff\xff"), None, "an end mark");
        assert_eq!(decode(b"\x00"), None, "padding of zeros");
    }

    proptest! {
        #[test]
        fn every_string_comes_back(plain: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&plain)), Some(plain));
        }
    }
}
