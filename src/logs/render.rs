//! Entries of json-file as lines of CRI, and lines about the log itself.

use translate::logs::line;

/// How a line begins in which dockside says what is missing.
const NOTICE: &[u8] = b"[dockside] ";

/// Renders the lines of json-file in `entries`, and notes the last stamp in `stamp`. One that a crash tore
/// has the next one in the same line.
pub(super) fn render_all(entries: &[u8], lines: &mut Vec<u8>, stamp: &mut Vec<u8>) {
    let mut last = None;
    let mut rest = entries;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let entry = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let before = lines.len();
        if line::render(entry, lines).is_ok() {
            last = Some(before);
            continue;
        }
        // In a text these bytes would be escaped, so they are the beginning of an entry.
        let whole = memchr::memmem::rfind(entry, b"{\"log\":\"").map_or(&[][..], |at| &entry[at..]);
        if line::render(whole, lines).is_ok() {
            let rest = lines.split_off(before);
            push_notice(
                stamp_of(&rest),
                "a line before this was torn by a crash or a full disk",
                lines,
            );
            last = Some(lines.len());
            lines.extend_from_slice(&rest);
        } else if !entry.is_empty() {
            let text = format!(
                "{} bytes of the engine's log are no log line and were skipped",
                entry.len()
            );
            let near = last.map_or_else(|| stamp.clone(), |at| stamp_of(&lines[at..]).to_vec());
            push_notice(&near, &text, lines);
        }
    }
    if let Some(at) = last {
        stamp.clear();
        stamp.extend_from_slice(stamp_of(&lines[at..]));
    }
}

/// The text of the stamp at the beginning of a line of CRI.
pub(super) fn stamp_of(line: &[u8]) -> &[u8] {
    &line[..memchr::memchr(b' ', line).unwrap_or(0)]
}

/// Appends a line about the log itself, stamped as its neighbour.
pub(super) fn push_notice(stamp: &[u8], text: &str, lines: &mut Vec<u8>) {
    let stamp = if stamp.is_empty() {
        b"1970-01-01T00:00:00Z"
    } else {
        stamp
    };
    for part in [stamp, b" stderr F ", NOTICE, text.as_bytes(), b"\n"] {
        lines.extend_from_slice(part);
    }
}

/// Whether a line of CRI looks like one of those.
pub(super) fn is_notice(line: &[u8]) -> bool {
    line.splitn(4, |byte| *byte == b' ')
        .nth(3)
        .is_some_and(|text| text.starts_with(NOTICE))
}
