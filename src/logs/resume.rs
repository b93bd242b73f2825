//! Finds the place in the Engine's log where a CRI log ends. No state but the two is needed.

use std::{
    collections::{HashMap, HashSet},
    io,
    ops::ControlFlow,
    os::unix::fs::FileExt,
};

use translate::logs::{line, stamp::Stamp};

use super::{
    render::{is_notice, render_all},
    source::{Note, Place},
};

/// How much older than the wanted one entries are looked at: the Engine stamps stdout and stderr before it
/// puts them in a row, so their order in the file is not quite that of their stamps.
const DISORDER: u64 = 256 * 1024;

/// How far the last line is looked for from where its stamp says it is.
const SEARCH: u64 = 8 << 20;

/// A generation's index, and an offset in it.
type Position = (usize, u64);

/// Where to go on, and what the reader of the CRI log has to be told.
pub(super) struct Found {
    pub(super) position: Position,
    pub(super) note: Option<Note>,
}

/// Looks in `generations`, the oldest first, for the place behind `tail`, the last lines of the CRI log.
pub(super) fn find(generations: &[Place], tail: &[u8], buffer: &mut [u8]) -> io::Result<Found> {
    let written: Vec<&[u8]> = tail.split_inclusive(|byte| *byte == b'\n').collect();
    let stamped = |line: &&[u8]| line::stamp(line).is_some();
    // What looks like a notice may be one of the container's own lines.
    let last = written
        .iter()
        .rposition(|line| !is_notice(line) && stamped(line))
        .or_else(|| written.iter().position(stamped));
    let Some(last) = last else {
        return Ok(Found {
            position: (0, 0),
            note: None,
        });
    };
    let (sure, perhaps) = written.split_at(last + 1);
    let last = written[last];
    let Some(stamp) = line::stamp(last) else {
        return Err(io::Error::other("a line that had a stamp has none"));
    };
    // Lines with the same stamp and text are told apart by their number.
    let count = sure.iter().filter(|line| **line == last).count();
    let begin = seek(generations, stamp, buffer)?;
    let wanted = Wanted {
        last,
        stamp,
        count,
        perhaps,
    };
    if let Some(position) = search(generations, begin, &wanted, buffer)? {
        return Ok(Found { position, note: None });
    }
    let oldest = match generations.first() {
        Some(oldest) => stamp_at(oldest, 0, buffer)?.map(|(first, _)| first),
        None => None,
    };
    if perhaps.is_empty() && oldest.is_none_or(|first| first > stamp) {
        // Without an older generation nothing was ever rotated away.
        let note = (generations.len() > 1).then(|| {
            Note::Gap(
                "lines may be missing, nobody knows how many: the engine's log was rotated while it was not copied"
                    .into(),
            )
        });
        return Ok(Found {
            position: (0, 0),
            note,
        });
    }
    // The Engine lost lines in a crash that the CRI log has, or the clock was set back.
    search_all(generations, &written, stamp, buffer)
}

struct Wanted<'a> {
    last: &'a [u8],
    stamp: Stamp,
    count: usize,
    /// Notices, or lines that look like them, behind the last.
    perhaps: &'a [&'a [u8]],
}

/// Looks for the last line from `begin` on.
fn search(
    generations: &[Place],
    begin: Position,
    wanted: &Wanted<'_>,
    buffer: &mut [u8],
) -> io::Result<Option<Position>> {
    let (mut found, mut left, mut perhaps) = (None, wanted.count, wanted.perhaps);
    let (mut lines, mut searched) = (Vec::new(), 0);
    scan(generations, begin, buffer, |entry, end| {
        searched += entry.len() as u64;
        if left == 0 {
            let line = rendered(entry, &mut lines);
            let Some(at) = perhaps.iter().position(|perhaps| *perhaps == line) else {
                return ControlFlow::Break(());
            };
            perhaps = &perhaps[at + 1..];
            found = Some(end);
        } else if line::stamp(entry) == Some(wanted.stamp) && rendered(entry, &mut lines) == wanted.last {
            left -= 1;
            found = Some(end);
        }
        if searched > SEARCH || left == 0 && perhaps.is_empty() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(found)
}

/// Looks everywhere for any of the lines written last.
fn search_all(
    generations: &[Place],
    written: &[&[u8]],
    stamp: Stamp,
    buffer: &mut [u8],
) -> io::Result<Found> {
    let stamps: HashSet<Stamp> = written.iter().filter_map(|line| line::stamp(line)).collect();
    let mut left: HashMap<&[u8], usize> = HashMap::new();
    for line in written {
        *left.entry(line).or_default() += 1;
    }
    let (mut found, mut newer, mut end_of_all) = (None, None, (0, 0));
    let mut lines = Vec::new();
    scan(generations, (0, 0), buffer, |entry, end| {
        end_of_all = end;
        let Some(own) = line::stamp(entry) else {
            return ControlFlow::Continue(());
        };
        if stamps.contains(&own)
            && let Some(left) = left
                .get_mut(rendered(entry, &mut lines))
                .filter(|left| **left > 0)
        {
            *left -= 1;
            found = Some(end);
        }
        // One with the stamp of the last line and another text was not written yet.
        if newer.is_none() && own >= stamp {
            newer = Some((end.0, end.1 - entry.len() as u64));
        }
        ControlFlow::Continue(())
    })?;
    Ok(match found {
        Some(position) => Found { position, note: None },
        None => Found {
            position: newer.unwrap_or(end_of_all),
            note: Some(Note::Gap(
                "lines may be missing: the engine's log does not hold the line before this".into(),
            )),
        },
    })
}

/// The line that an entry becomes. In front of one that a crash has torn off its predecessor is a notice.
fn rendered<'a>(entry: &[u8], lines: &'a mut Vec<u8>) -> &'a [u8] {
    lines.clear();
    render_all(entry, lines, &mut Vec::new());
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .next_back()
        .unwrap_or_default()
}

/// Shows `look` each entry from `begin` on, and where it ends.
fn scan(
    generations: &[Place],
    begin: Position,
    buffer: &mut [u8],
    mut look: impl FnMut(&[u8], Position) -> ControlFlow<()>,
) -> io::Result<()> {
    for (index, generation) in generations.iter().enumerate().skip(begin.0) {
        let mut offset = if index == begin.0 { begin.1 } else { 0 };
        loop {
            let length = generation.file.read_at(buffer, offset)?;
            let Some(end) = memchr::memrchr(b'\n', &buffer[..length]) else {
                if length < buffer.len() {
                    break;
                }
                offset += length as u64;
                continue;
            };
            for entry in buffer[..=end].split_inclusive(|byte| *byte == b'\n') {
                offset += entry.len() as u64;
                if look(entry, (index, offset)).is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The first place that may hold an entry stamped `after` or later.
///
/// Entries are nearly in the order of their stamps, so this takes a few reads of a large file.
fn seek(generations: &[Place], after: Stamp, buffer: &mut [u8]) -> io::Result<Position> {
    for (index, generation) in generations.iter().enumerate().rev() {
        let Some((first, _)) = stamp_at(generation, 0, buffer)? else {
            continue;
        };
        if first > after {
            continue;
        }
        let (mut low, mut high) = (0, generation.file.metadata()?.len());
        while high.saturating_sub(low) > DISORDER {
            let middle = low + (high - low) / 2;
            match stamp_at(generation, middle, buffer)? {
                Some((stamp, at)) if stamp < after => low = at,
                _ => high = middle,
            }
        }
        // Disorder may reach into the generation before.
        let (index, generation, end) = match index.checked_sub(1) {
            Some(before) if low < DISORDER => {
                let generation = &generations[before];
                (before, generation, generation.file.metadata()?.len())
            }
            _ => (index, generation, low),
        };
        let begin = line_after(generation, end.saturating_sub(DISORDER), buffer)?;
        return Ok((index, begin.unwrap_or(0)));
    }
    Ok((0, 0))
}

/// Where the first line at or behind `offset` begins.
fn line_after(generation: &Place, offset: u64, buffer: &mut [u8]) -> io::Result<Option<u64>> {
    if offset == 0 {
        return Ok(Some(0));
    }
    let length = generation.file.read_at(buffer, offset - 1)?;
    Ok(memchr::memchr(b'\n', &buffer[..length]).map(|at| offset + at as u64))
}

/// The stamp of the first whole line at or behind `offset` that has one, and where it begins.
fn stamp_at(generation: &Place, offset: u64, buffer: &mut [u8]) -> io::Result<Option<(Stamp, u64)>> {
    let Some(begin) = line_after(generation, offset, buffer)? else {
        return Ok(None);
    };
    let length = generation.file.read_at(buffer, begin)?;
    let mut at = 0;
    while let Some(end) = memchr::memchr(b'\n', &buffer[at..length]) {
        if let Some(stamp) = line::stamp(&buffer[at..at + end]) {
            return Ok(Some((stamp, begin + at as u64)));
        }
        at += end + 1;
    }
    Ok(None)
}
