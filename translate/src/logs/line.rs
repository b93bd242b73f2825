//! One line of the Engine's json-file log as one of CRI's.
//!
//! The Engine writes `{"log":"text\n","stream":"stdout","time":"…"}`, for a piece of a line over 16 KiB
//! without the `\n`. CRI wants `time stream F text`, or `P` for a piece. This scanner knows just that form
//! and is several times cheaper than a JSON parser; what it does not recognise is given to one.

use memchr::{memchr, memchr2};
use serde::Deserialize;

use super::stamp::Stamp;

const HEAD: &[u8] = b"{\"log\":\"";
const STREAM: &[u8] = b",\"stream\":\"";
const TIME: &[u8] = b",\"time\":\"";

/// A line that is not the Engine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a line of the engine's json-file log")]
pub struct Foreign;

/// Appends `entry`, one line of json-file without its newline, to `out` as a line of CRI.
///
/// The text is restored byte for byte. Bytes that were not UTF-8 are lost already: the Engine replaced them
/// by U+FFFD.
pub fn render(entry: &[u8], out: &mut Vec<u8>) -> Result<(), Foreign> {
    let start = out.len();
    let done = scan(entry, out);
    if done.is_none() {
        out.truncate(start);
        parse(entry, out).ok_or(Foreign)?;
    }
    Ok(())
}

/// The time of a line of CRI, or of one of json-file.
pub fn stamp(line: &[u8]) -> Option<Stamp> {
    if line.starts_with(b"{") {
        let at = memchr::memmem::rfind(line, TIME)? + TIME.len();
        let end = at + memchr(b'"', &line[at..])?;
        return Stamp::parse(&line[at..end]);
    }
    Stamp::parse(&line[..memchr(b' ', line)?])
}

fn scan(entry: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let body = entry.strip_prefix(HEAD)?;
    let end = string_end(body)?;
    let (text, rest) = (&body[..end], &body[end + 1..]);
    let rest = rest.strip_prefix(STREAM)?;
    let (stream, rest) = rest.split_at(memchr(b'"', rest)?);
    let rest = rest[1..].strip_prefix(TIME)?;
    let (time, rest) = rest.split_at(memchr(b'"', rest)?);
    if rest != b"\"}" || !matches!(stream, b"stdout" | b"stderr") || memchr(b'\\', time).is_some() {
        return None;
    }
    write_line(time, stream, out, |out| unescape(text, out))
}

/// Where the JSON string that begins here ends.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn write_line(
    time: &[u8],
    stream: &[u8],
    out: &mut Vec<u8>,
    text: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    Stamp::parse(time)?;
    for part in [time, b" ", stream, b" "] {
        out.extend_from_slice(part);
    }
    let tag = out.len();
    out.extend_from_slice(b"P ");
    let content = out.len();
    text(out)?;
    let is_whole = out.len() > content && out.last() == Some(&b'\n');
    let end = out.len() - usize::from(is_whole);
    // The Engine splits at newlines; one in the middle would be read as a line of its own.
    let mut at = content;
    while let Some(newline) = memchr(b'\n', &out[at..end]) {
        at += newline;
        out[at] = b' ';
    }
    if is_whole {
        out[tag] = b'F';
    } else {
        out.push(b'\n');
    }
    Some(())
}

fn unescape(mut text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some(at) = memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        let (escape, rest) = text[at + 1..].split_first()?;
        text = rest;
        let byte = match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'"' | b'\\' | b'/' => *escape,
            b'u' => {
                text = code_point(text, out)?;
                continue;
            }
            _ => return None,
        };
        out.push(byte);
    }
    out.extend_from_slice(text);
    Some(())
}

/// Writes the character of a `\u` escape, or of two that make a pair, and returns what follows.
fn code_point<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (first, mut rest) = hex4(text)?;
    let mut code = u32::from(first);
    if (0xd800..0xdc00).contains(&code) {
        let (second, after) = hex4(rest.strip_prefix(b"\\u")?)?;
        let low = u32::from(second).checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        code = 0x10000 + ((code - 0xd800) << 10) + low;
        rest = after;
    }
    let mut buffer = [0; 4];
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
    Some(rest)
}

fn hex4(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits)
        .ok()
        .filter(|text| !text.starts_with('+'))?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}

/// Entries with attributes, or in another order than expected.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    log: String,
    stream: String,
    time: String,
}

fn parse(entry: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let entry: Entry = serde_json::from_slice(entry).ok()?;
    if entry.stream.is_empty() || entry.stream.contains(char::is_whitespace) {
        return None;
    }
    write_line(entry.time.as_bytes(), entry.stream.as_bytes(), out, |out| {
        out.extend_from_slice(entry.log.as_bytes());
        Some(())
    })
}

#[cfg(test)]
#[path = "line/tests.rs"]
mod tests;
