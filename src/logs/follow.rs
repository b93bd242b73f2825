//! One container's log, from the Engine's files to CRI's.

use std::{io, path::Path};

use tracing::warn;

use super::{
    LogSpec,
    claim::{Claim, Claimed},
    render::{push_notice, render_all, stamp_of},
    resume,
    sink::Sink,
    source::{Counter, Note, Read, Source},
};
use crate::metrics;

/// Room for the longest line the Engine writes: 16 KiB, each byte as `\u00XX`, and what is around it.
pub(super) const BUFFER: usize = 128 * 1024;

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to read.
    More,
    /// All that the Engine has written is in the CRI log.
    Done,
    /// Another process writes the CRI log.
    Taken,
}

/// A log that is being followed.
pub(super) struct Follow {
    source: Source,
    sink: Sink,
    /// Without it nothing is written.
    claim: Option<Claim>,
    resumed: bool,
    /// The stamp of the last line that was copied, as text.
    stamp: Vec<u8>,
}

impl Follow {
    pub(super) fn new(spec: LogSpec) -> Self {
        Self {
            source: Source::new(spec.source),
            sink: Sink::new(spec.directory, spec.path),
            claim: None,
            resumed: false,
            stamp: Vec::new(),
        }
    }

    pub(super) fn describe(&self) -> String {
        self.sink.describe()
    }

    /// The directory that changes when there is something to copy.
    pub(super) fn directory(&self) -> &Path {
        self.source.directory()
    }

    /// The file system of the CRI log, once that was opened.
    pub(super) const fn device(&self) -> Option<u64> {
        self.sink.device()
    }

    /// Goes on in a new file at the CRI log's path.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match self.claim()? {
            None => self.sink.reopen(),
            Some(Step::Taken) => Err(taken()),
            Some(_) => Err(io::Error::other("the engine has removed the container")),
        }
    }

    /// Makes sure that nobody else writes the CRI log; tells what there is to do if not.
    fn claim(&mut self) -> io::Result<Option<Step>> {
        if self.claim.is_some() {
            return Ok(None);
        }
        match Claim::try_get(self.source.directory())? {
            Claimed::Mine(claim) => {
                self.claim = Some(claim);
                Ok(None)
            }
            Claimed::Taken => Ok(Some(Step::Taken)),
            Claimed::Gone => Ok(Some(Step::Done)),
        }
    }

    /// Copies what fits into `buffer`. On an error nothing is lost: the next step goes on where it stopped.
    pub(super) fn step(
        &mut self,
        buffer: &mut [u8],
        lines: &mut Vec<u8>,
        counter: Counter<'_>,
    ) -> io::Result<Step> {
        if let Some(step) = self.claim()? {
            return Ok(step);
        }
        if !self.resumed {
            self.resumed = self.resume(buffer, counter)?;
            if !self.resumed {
                return Ok(Step::Done);
            }
        }
        self.sink.flush()?;
        lines.clear();
        let before = self.stamp.clone();
        let length = match self.source.read(buffer, counter)? {
            Read::Lines(entries) => {
                render_all(entries, lines, &mut self.stamp);
                entries.len()
            }
            Read::TooLong => {
                self.source.note(Note::At(format!(
                    "{} bytes of the engine's log are no log line and were skipped",
                    buffer.len()
                )));
                buffer.len()
            }
            Read::End => 0,
        };
        let notes = self.source.take_notes();
        if !notes.is_empty() {
            let next = stamp_of(lines);
            let stamp = if next.is_empty() { &before } else { next };
            let mut with_notes = Vec::new();
            for note in notes {
                let note = note.between(&before, next);
                warn!(log = self.sink.describe(), "{note}");
                metrics::log_gap();
                push_notice(stamp, &note, &mut with_notes);
            }
            with_notes.append(lines);
            *lines = with_notes;
        }
        self.source.advance(length);
        if !lines.is_empty() {
            self.sink.write(lines)?;
        }
        Ok(if length == 0 { Step::Done } else { Step::More })
    }

    /// Goes to where the CRI log ends; false if the Engine has no log yet, or no longer.
    fn resume(&mut self, buffer: &mut [u8], counter: Counter<'_>) -> io::Result<bool> {
        let mut generations = self.source.generations(counter)?;
        if generations.is_empty() {
            return Ok(false);
        }
        let tail = self.sink.tail()?;
        let found = resume::find(&generations, &tail, buffer)?;
        let mut place = generations.swap_remove(found.position.0);
        place.offset = found.position.1;
        self.source.resume(place);
        if let Some(note) = found.note {
            self.source.note(note);
        }
        let last = tail.split_inclusive(|byte| *byte == b'\n').next_back();
        self.stamp = stamp_of(last.unwrap_or_default()).to_vec();
        Ok(true)
    }
}

/// Why a log is not written here.
pub(super) fn taken() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another dockside on this engine writes it",
    )
}

#[cfg(test)]
#[path = "follow/tests.rs"]
mod tests;
