//! One container's log, from the Engine's files to CRI's.

use std::io;

use tracing::warn;
use translate::logs::line;

use super::{
    LogSpec,
    sink::Sink,
    source::{Mark, Read, Source},
};

/// How a line begins in which dockside says what is missing.
const NOTICE: &[u8] = b"[dockside] ";

/// How far behind the end of a CRI log its last line is looked for in the Engine's.
const SEARCH: usize = 8 << 20;

/// Room for the longest line the Engine writes: 16 KiB, each byte as `\u00XX`, and what is around it.
pub(super) const BUFFER: usize = 128 * 1024;

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to read.
    More,
    /// All that the Engine has written is in the CRI log.
    Done,
}

/// A log that is being followed.
pub(super) struct Follow {
    source: Source,
    pub(super) sink: Sink,
    resumed: bool,
}

impl Follow {
    pub(super) fn new(spec: LogSpec) -> Self {
        Self {
            source: Source::new(spec.source),
            sink: Sink::new(spec.directory, spec.path),
            resumed: false,
        }
    }

    /// Notes that the Engine has rotated its log.
    pub(super) const fn rotated(&mut self) {
        self.source.rotated();
    }

    /// Copies what fits into `buffer`. On an error nothing is lost: the next step goes on where it stopped.
    pub(super) fn step(&mut self, buffer: &mut [u8], lines: &mut Vec<u8>) -> io::Result<Step> {
        if !self.resumed {
            self.resume(buffer, lines)?;
            self.resumed = true;
        }
        self.sink.flush()?;
        let (length, end) = match self.source.read(buffer)? {
            Read::Lines(entries) => {
                lines.clear();
                render_all(entries, lines);
                (entries.len(), false)
            }
            Read::TooLong => (buffer.len(), false),
            Read::End => (0, true),
        };
        let lost = self.source.take_lost();
        if lost > 0 {
            let text =
                format!("{lost} files of the engine's log were rotated away before they could be copied");
            let at = lines.iter().position(|byte| *byte == b' ').unwrap_or(0);
            let notice = notice(&lines[..at], &text);
            self.sink.write(&notice)?;
        }
        if end {
            return Ok(Step::Done);
        }
        self.source.advance(length);
        self.sink.write(lines)?;
        Ok(Step::More)
    }

    /// Finds the place in the Engine's log where the CRI log ends. No state but the two is needed.
    fn resume(&mut self, buffer: &mut [u8], lines: &mut Vec<u8>) -> io::Result<()> {
        let tail = self.sink.tail()?;
        let written: Vec<&[u8]> = tail
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| !is_notice(line))
            .collect();
        let Some(last) = written.last() else { return Ok(()) };
        let Some(stamp) = line::stamp(last) else {
            return Ok(());
        };
        // Lines with the same stamp and text are told apart by their number.
        let mut left = written.iter().rev().take_while(|line| *line == last).count();

        let whole = self.source.seek(stamp, buffer)?;
        let mut newer: Option<Mark> = None;
        let mut searched = 0;
        while searched < SEARCH {
            let Read::Lines(entries) = self.source.read(buffer)? else {
                break;
            };
            let mut at = 0;
            for entry in entries.split_inclusive(|byte| *byte == b'\n') {
                lines.clear();
                render_all(entry, lines);
                if newer.is_none() && line::stamp(lines).is_some_and(|entry| entry > stamp) {
                    let mut mark = self.source.mark()?;
                    mark.advance(at);
                    newer = Some(mark);
                }
                at += entry.len();
                if lines.as_slice() == *last {
                    left -= 1;
                    if left == 0 {
                        self.source.advance(at);
                        return Ok(());
                    }
                }
            }
            searched += entries.len();
            self.source.advance(at);
        }
        // The last line is not there. What is newer than it is, is missing from the CRI log.
        if let Some(mark) = newer {
            self.source.rewind(mark);
        }
        if !whole {
            let from = String::from_utf8_lossy(&last[..last.iter().position(|b| *b == b' ').unwrap_or(0)])
                .into_owned();
            let text = format!(
                "the engine's log was rotated while it was not copied: lines after {from} are missing"
            );
            self.sink.write(&notice(from.as_bytes(), &text))?;
        }
        warn!(
            log = self.sink.describe(),
            "the end of the log is not in the engine's log; going on behind it"
        );
        Ok(())
    }
}

/// Renders the lines of json-file in `entries`. One that a crash tore has the next one in the same line.
fn render_all(entries: &[u8], lines: &mut Vec<u8>) {
    for entry in entries.split_inclusive(|byte| *byte == b'\n') {
        let entry = entry.strip_suffix(b"\n").unwrap_or(entry);
        if line::render(entry, lines).is_ok() {
            continue;
        }
        let whole = memchr::memmem::rfind(entry, b"{\"log\":\"").map_or(&[][..], |at| &entry[at..]);
        let before = lines.len();
        if line::render(whole, lines).is_ok() {
            let rest = lines.split_off(before);
            let at = rest.iter().position(|byte| *byte == b' ').unwrap_or(0);
            lines.extend_from_slice(&notice(&rest[..at], "a line before this was torn by a crash"));
            lines.extend_from_slice(&rest);
        } else if !entry.iter().all(|byte| *byte == 0) {
            warn!(
                length = entry.len(),
                "skipping what is no line of the engine's log"
            );
        }
    }
}

/// A line about the log itself, stamped as its neighbour.
fn notice(stamp: &[u8], text: &str) -> Vec<u8> {
    let stamp = if stamp.is_empty() {
        b"1970-01-01T00:00:00Z"
    } else {
        stamp
    };
    [stamp, b" stderr F ", NOTICE, text.as_bytes(), b"\n"].concat()
}

fn is_notice(line: &[u8]) -> bool {
    line.splitn(4, |byte| *byte == b' ')
        .nth(3)
        .is_some_and(|text| text.starts_with(NOTICE))
}
