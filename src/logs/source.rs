//! The Engine's side: a json-file log and its older generation.
//!
//! The Engine rotates by renaming: it closes `x-json.log` and makes it `x-json.log.1`, whose own predecessor
//! goes. A reader holds the file it is in the middle of, so it loses nothing as long as it is not two
//! generations behind.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// How often the rotations and the files are compared before a log that is rotated all the time is taken
/// as it is.
const ATTEMPTS: usize = 10;

/// What is known of a log's rotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rotations {
    /// How many there were.
    pub(super) count: i64,
    /// Changes whenever some may not have been counted.
    pub(super) lapses: u64,
}

/// Tells what is known up to the moment of the question.
pub(super) type Counter<'a> = &'a mut dyn FnMut() -> Rotations;

/// Reads a log from generation to generation.
pub(super) struct Source {
    path: PathBuf,
    place: Option<Place>,
    notes: Vec<Note>,
}

/// What the reader of the CRI log has to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Something about this place.
    At(String),
    /// Lines are missing here, which came between the line before and the one behind.
    Gap(String),
}

impl Note {
    /// The text, between lines stamped `before` and `next`; either may be unknown.
    pub(super) fn between(self, before: &[u8], next: &[u8]) -> String {
        let (before, next) = (String::from_utf8_lossy(before), String::from_utf8_lossy(next));
        match self {
            Self::At(text) => text,
            Self::Gap(text) if next.is_empty() => format!("{text}, after {before}"),
            Self::Gap(text) => format!("{text}, between {before} and {next}"),
        }
    }
}

/// A place in one generation.
pub(super) struct Place {
    pub(super) file: File,
    pub(super) offset: u64,
    /// The rotations up to when this generation became the current one.
    born: Rotations,
}

/// Where reading stands.
pub(super) enum Read<'a> {
    /// Whole lines.
    Lines(&'a [u8]),
    /// All is read.
    End,
    /// The beginning of a line that is longer than the buffer.
    TooLong,
}

impl Source {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            place: None,
            notes: Vec::new(),
        }
    }

    /// The directory that changes when the log is rotated.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The next whole lines, as many as the buffer takes. They are read again until [`Self::advance`].
    pub(super) fn read<'a>(&mut self, buffer: &'a mut [u8], counter: Counter<'_>) -> io::Result<Read<'a>> {
        loop {
            let Some(place) = &self.place else {
                let mut generations = self.generations(counter)?;
                if generations.is_empty() {
                    return Ok(Read::End);
                }
                self.place = Some(generations.swap_remove(0));
                continue;
            };
            let length = place.file.read_at(buffer, place.offset)?;
            if let Some(end) = memchr::memrchr(b'\n', &buffer[..length]) {
                return Ok(Read::Lines(&buffer[..=end]));
            }
            if length == buffer.len() {
                return Ok(Read::TooLong);
            }
            // At the end, perhaps in the middle of a line. Only a file that was rotated away is complete,
            // and what came between the read and the rotation is in it still.
            if self.is_current(&place.file)? {
                return Ok(Read::End);
            }
            if place.file.read_at(buffer, place.offset)? > length {
                continue;
            }
            if !self.go_on(length, counter)? {
                return Ok(Read::End);
            }
        }
    }

    /// Goes on behind `bytes` bytes of what was read last.
    pub(super) const fn advance(&mut self, bytes: usize) {
        if let Some(place) = &mut self.place {
            place.offset += bytes as u64;
        }
    }

    /// Goes on at `place`.
    pub(super) fn resume(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// What has to be said in front of the lines that are read next; told once.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Has something said in front of the lines that are read next.
    pub(super) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// The beginnings of the generations that are there, the oldest first.
    pub(super) fn generations(&self, counter: Counter<'_>) -> io::Result<Vec<Place>> {
        let (older, current, now) = self.look(counter)?;
        let before = Rotations {
            count: now.count - 1,
            ..now
        };
        let place = |file: Option<File>, born| {
            file.map(|file| Place {
                file,
                offset: 0,
                born,
            })
        };
        Ok(place(older, before)
            .into_iter()
            .chain(place(current, now))
            .collect())
    }

    fn older(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".1");
        name.into()
    }

    /// Between a rotation's two steps there is no current file, and nothing to go on with.
    fn is_current(&self, file: &File) -> io::Result<bool> {
        match std::fs::metadata(&self.path) {
            Ok(current) => Ok(current.ino() == file.metadata()?.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The two generations as they were at one moment, and the rotations up to then.
    fn look(&self, counter: Counter<'_>) -> io::Result<(Option<File>, Option<File>, Rotations)> {
        let mut before = counter();
        let mut attempt = 0;
        loop {
            let (older, current) = (open(&self.older())?, open(&self.path)?);
            let after = counter();
            let same = match (&older, &current) {
                (Some(older), Some(current)) => older.metadata()?.ino() == current.metadata()?.ino(),
                _ => false,
            };
            // Without a watch the count stays as it is, and `lapses` never does.
            attempt += 1;
            if !same && after.count == before.count || attempt == ATTEMPTS {
                return Ok((older, current, after));
            }
            before = after;
        }
    }

    /// Goes on in the next generation; false if there is none yet. `torn` bytes are left of this one.
    fn go_on(&mut self, torn: usize, counter: Counter<'_>) -> io::Result<bool> {
        let (older, current, now) = self.look(counter)?;
        let (Some(place), Some(current)) = (&self.place, current) else {
            return Ok(false);
        };
        let mine = place.file.metadata()?.ino();
        if current.metadata()?.ino() == mine {
            return Ok(false);
        }
        let (distance, certain) = (now.count - place.born.count, now.lapses == place.born.lapses);
        // Mine is the older one, or one that has gone before that: then at least one is between.
        let (next, is_next, lost) = match older {
            Some(older) if older.metadata()?.ino() == mine => (current, 0, 0),
            Some(older) => (older, 1, distance - 2),
            None => (current, 0, distance - 1),
        };
        let mine_is_older = lost == 0 && is_next == 0;
        if torn > 0 {
            self.note(Note::At(
                "a line before this was torn by a crash or a full disk".into(),
            ));
        }
        if lost > 0 && certain {
            // The Engine rotates at one size, so the file after them has theirs.
            let bytes = u64::try_from(lost).unwrap_or(0) * next.metadata()?.len();
            self.note(Note::Gap(format!(
                "lines are missing: {lost} files of the engine's log, about {bytes} bytes, were rotated away \
                 before they were copied"
            )));
        } else if !certain && !mine_is_older {
            self.note(Note::Gap(
                "lines may be missing, nobody knows how many: the engine's log was rotated before it was copied".into(),
            ));
        }
        self.place = Some(Place {
            file: next,
            offset: 0,
            born: Rotations {
                count: now.count - is_next,
                ..now
            },
        });
        Ok(true)
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
