//! The Engine's side: a json-file log and its older generation.
//!
//! The Engine rotates by renaming: `x-json.log` becomes `x-json.log.1`, whose own predecessor goes. A reader
//! holds the file it is in the middle of, so it loses nothing as long as it is not two generations behind.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use translate::logs::{line, stamp::Stamp};

/// How much older than the wanted one entries are looked at: the Engine stamps stdout and stderr before it
/// puts them in a row, so their order in the file is not quite that of their stamps.
const DISORDER: u64 = 256 * 1024;

/// Reads a log from generation to generation.
pub(super) struct Source {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    /// How often the Engine has rotated since the generation that is read was the current one.
    rotations: u32,
    /// Generations that went before they were read.
    lost: u32,
}

/// A place to come back to.
pub(super) struct Mark {
    file: Option<File>,
    offset: u64,
    rotations: u32,
}

impl Mark {
    /// Moves the place behind `bytes` bytes.
    pub(super) const fn advance(&mut self, bytes: usize) {
        self.offset += bytes as u64;
    }
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
            file: None,
            offset: 0,
            rotations: 0,
            lost: 0,
        }
    }

    /// The next whole lines, as many as the buffer takes. They are read again until [`Self::advance`].
    pub(super) fn read<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Read<'a>> {
        loop {
            let Some(file) = &self.file else {
                match self.oldest()? {
                    Some(file) => self.file = Some(file),
                    None => return Ok(Read::End),
                }
                continue;
            };
            let length = file.read_at(buffer, self.offset)?;
            if let Some(end) = memchr::memrchr(b'\n', &buffer[..length]) {
                return Ok(Read::Lines(&buffer[..=end]));
            }
            if length == buffer.len() {
                return Ok(Read::TooLong);
            }
            // At the end, perhaps in the middle of a line. Only a file that was rotated away is complete.
            match self.following()? {
                Some(next) => {
                    self.file = Some(next);
                    self.offset = 0;
                }
                None => return Ok(Read::End),
            }
        }
    }

    /// Goes on behind `bytes` bytes of what was read last.
    pub(super) const fn advance(&mut self, bytes: usize) {
        self.offset += bytes as u64;
    }

    /// Notes that the Engine has rotated.
    pub(super) const fn rotated(&mut self) {
        self.rotations += 1;
    }

    /// How many generations went before they were read; asked once.
    pub(super) const fn take_lost(&mut self) -> u32 {
        std::mem::replace(&mut self.lost, 0)
    }

    pub(super) fn mark(&self) -> io::Result<Mark> {
        let file = self.file.as_ref().map(File::try_clone).transpose()?;
        Ok(Mark {
            file,
            offset: self.offset,
            rotations: self.rotations,
        })
    }

    pub(super) fn rewind(&mut self, mark: Mark) {
        (self.file, self.offset, self.rotations) = (mark.file, mark.offset, mark.rotations);
    }

    fn older(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".1");
        name.into()
    }

    fn oldest(&self) -> io::Result<Option<File>> {
        match open(&self.older())? {
            Some(file) => Ok(Some(file)),
            None => open(&self.path),
        }
    }

    /// The generation after the one that is read, once that is no longer the current one.
    fn following(&mut self) -> io::Result<Option<File>> {
        let Some(file) = &self.file else { return Ok(None) };
        let mine = file.metadata()?.ino();
        let current = open(&self.path)?;
        let Some(current) = current else { return Ok(None) };
        if current.metadata()?.ino() == mine {
            return Ok(None);
        }
        // Between the two there is one generation, unless what was read is that one.
        match open(&self.older())? {
            Some(older) if older.metadata()?.ino() != mine => {
                // Two rotations ago it was the current one; what was in between at more is gone.
                self.lost += self.rotations.saturating_sub(2);
                self.rotations = 1;
                Ok(Some(older))
            }
            _ => {
                self.rotations = 0;
                Ok(Some(current))
            }
        }
    }

    /// Moves to the first place that may hold an entry stamped `after` or later.
    ///
    /// Entries are nearly in the order of their stamps, so this takes a few reads of a large file. Returns
    /// whether the log begins before `after`: if not, entries from between are gone.
    pub(super) fn seek(&mut self, after: Stamp, buffer: &mut [u8]) -> io::Result<bool> {
        let mut whole = false;
        (self.file, self.offset) = (None, 0);
        for path in [self.older(), self.path.clone()] {
            let Some(file) = open(&path)? else { continue };
            let Some(first) = stamp_at(&file, 0, buffer)? else {
                continue;
            };
            if first.0 > after {
                // Later generations begin later still.
                if self.file.is_none() {
                    self.file = Some(file);
                    self.offset = 0;
                }
                return Ok(whole);
            }
            whole = true;
            let (mut low, mut high) = (0, file.metadata()?.len());
            while high - low > DISORDER {
                let middle = low + (high - low) / 2;
                match stamp_at(&file, middle, buffer)? {
                    Some((stamp, at)) if stamp < after => low = at,
                    _ => high = middle,
                }
            }
            self.offset = line_after(&file, low.saturating_sub(DISORDER), buffer)?.unwrap_or(0);
            self.file = Some(file);
        }
        Ok(whole)
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the first line at or behind `offset` begins.
fn line_after(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<Option<u64>> {
    if offset == 0 {
        return Ok(Some(0));
    }
    let length = file.read_at(buffer, offset - 1)?;
    Ok(memchr::memchr(b'\n', &buffer[..length]).map(|at| offset + at as u64))
}

/// The stamp of the first whole line at or behind `offset` that has one, and where it begins.
fn stamp_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<Option<(Stamp, u64)>> {
    let Some(begin) = line_after(file, offset, buffer)? else {
        return Ok(None);
    };
    let length = file.read_at(buffer, begin)?;
    let mut at = 0;
    while let Some(end) = memchr::memchr(b'\n', &buffer[at..length]) {
        if let Some(stamp) = line::stamp(&buffer[at..at + end]) {
            return Ok(Some((stamp, begin + at as u64)));
        }
        at += end + 1;
    }
    Ok(None)
}
