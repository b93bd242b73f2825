//! CRI's side: the log that the kubelet reads and rotates.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, open, openat, statat, unlinkat},
    io::Errno,
};

use crate::metrics;

/// What the kubelet's own log files have.
const MODE: Mode = Mode::from_raw_mode(0o640);

/// Lines at the end of a log that are compared with the Engine's: enough for any line, and for many short
/// ones with the same stamp.
const TAIL: u64 = 256 * 1024;

/// A CRI log being written.
pub(super) struct Sink {
    directory: PathBuf,
    path: PathBuf,
    file: Option<File>,
    device: Option<u64>,
    /// Whole lines that could not be written yet.
    pending: Vec<u8>,
    /// How much of the first of them is in the file.
    begun: usize,
}

impl Sink {
    pub(super) const fn new(directory: PathBuf, path: PathBuf) -> Self {
        Self {
            directory,
            path,
            file: None,
            device: None,
            pending: Vec::new(),
            begun: 0,
        }
    }

    /// The file system of the log, once that was opened.
    pub(super) const fn device(&self) -> Option<u64> {
        self.device
    }

    pub(super) fn describe(&self) -> String {
        self.directory.join(&self.path).display().to_string()
    }

    /// The memory that is held for lines that could not be written.
    #[cfg(test)]
    pub(super) const fn kept(&self) -> usize {
        self.pending.capacity()
    }

    /// Makes the log and its directories unless they are there, and takes an Engine's own log away that
    /// cri-dockerd put in its place as a link.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        let file = self.open()?;
        self.device = Some(file.metadata()?.dev());
        // A line is never in two files.
        self.begun = 0;
        self.file = Some(file);
        Ok(())
    }

    /// Goes on in the file that is at the path now, which is made if it is not there. Nothing has changed
    /// if that fails.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        // A line that is half in the old file has its end there too.
        if self.begun > 0 {
            self.flush()?;
        }
        self.prepare()
    }

    /// Writes `lines`, after what was left of earlier ones. On an error the rest is kept for another try.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.pending.is_empty() {
            return self.put(lines);
        }
        self.pending.extend_from_slice(lines);
        self.flush()
    }

    /// Tries to write what is left of earlier lines.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.put(&pending)
    }

    /// Writes `lines`, of which the first may have begun, and keeps what could not be written.
    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        let (done, written) = match self.writable() {
            Ok((file, begun)) => {
                let (done, written) = write_all(file, lines, begun);
                metrics::log_written(done - begun);
                (done, written)
            }
            Err(error) => (self.begun, Err(error)),
        };
        let whole = memchr::memrchr(b'\n', &lines[..done]).map_or(0, |at| at + 1);
        self.begun = done - whole;
        self.pending = lines[whole..].to_vec();
        written
    }

    /// The log's file, another one if somebody has deleted it; and how much of the first line is in it.
    fn writable(&mut self) -> io::Result<(&File, usize)> {
        if self.file.as_ref().is_none_or(is_deleted) {
            self.file = None;
            self.prepare()?;
        }
        match &self.file {
            Some(file) => Ok((file, self.begun)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The last whole lines that were written: of the log itself and, if that is short, of those that were
    /// renamed before. What stands behind the last newline is cut off: a crash tore it.
    pub(super) fn tail(&mut self) -> io::Result<Vec<u8>> {
        let (file, _) = self.writable()?;
        let (mut tail, mut is_all) = read_tail(file)?;
        if is_all {
            let (parent, name) = self.parent()?;
            for rotated in rotated(&parent, name)?.iter().rev() {
                let file = match open_file(&parent, rotated, OFlags::APPEND | OFlags::RDWR) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    other => other?,
                };
                let mut before;
                (before, is_all) = read_tail(&file)?;
                before.append(&mut tail);
                tail = before;
                if !is_all || tail.len() as u64 >= TAIL {
                    break;
                }
            }
        }
        Ok(tail)
    }

    /// The directory that the log is in, made if it is not there, and the log's name in it. No link leads
    /// out of the pod's directory: none is followed below it.
    fn parent(&self) -> io::Result<(OwnedFd, &str)> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        std::fs::create_dir_all(&self.directory)?;
        let mut parent = open(&self.directory, flags, Mode::empty())?;
        let mut names = Vec::new();
        for component in self.path.components() {
            match component {
                Component::Normal(name) => names.extend(name.to_str()),
                _ => return Err(leaves(&self.path)),
            }
        }
        let Some((name, directories)) = names.split_last() else {
            return Err(leaves(&self.path));
        };
        for directory in directories {
            match mkdirat(&parent, *directory, Mode::from_raw_mode(0o755)) {
                Err(error) if error != Errno::EXIST => return Err(error.into()),
                _ => {}
            }
            parent = openat(&parent, *directory, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok((parent, name))
    }

    /// Opens the log for appending.
    fn open(&self) -> io::Result<File> {
        let (parent, name) = self.parent()?;
        let is_link = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if is_link {
            unlinkat(&parent, name, AtFlags::empty())?;
        }
        open_file(&parent, name, OFlags::CREATE | OFlags::APPEND | OFlags::RDWR)
    }
}

/// The logs that the kubelet renamed, in order: it appends a time, and compresses all but the last.
fn rotated(parent: &OwnedFd, name: &str) -> io::Result<Vec<String>> {
    let prefix = format!("{name}.");
    let mut names = Vec::new();
    for entry in Dir::read_from(parent)? {
        let entry = entry?;
        let Ok(other) = entry.file_name().to_str() else {
            continue;
        };
        if other.starts_with(&prefix) && !other.ends_with(".gz") && !other.ends_with(".tmp") {
            names.push(other.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn leaves(path: &Path) -> io::Error {
    let why = format!("{} leaves the pod's log directory", path.display());
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn open_file(parent: impl AsFd, name: &str, flags: OFlags) -> io::Result<File> {
    // A pipe or a device in its place must not hold up the thread.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(openat(parent, name, flags, MODE)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other(format!("{name} is no regular file")))
    }
}

/// Writes `lines` from the byte numbered `done` on; returns how far it came.
fn write_all(mut file: &File, lines: &[u8], mut done: usize) -> (usize, io::Result<()>) {
    while done < lines.len() {
        match file.write(&lines[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(length) => done += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

fn is_deleted(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

/// The whole lines at the end of a log, from which a torn one is cut off; and whether that is all of it.
fn read_tail(mut file: &File) -> io::Result<(Vec<u8>, bool)> {
    loop {
        let length = file.metadata()?.len();
        let begin = length.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(begin))?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail)?;
        let whole = memchr::memrchr(b'\n', &tail).map_or(0, |at| at + 1);
        if whole < tail.len() {
            file.set_len(begin + whole as u64)?;
            tail.truncate(whole);
        }
        if whole == 0 && begin > 0 {
            continue;
        }
        if begin > 0 {
            // The first is the end of a line only.
            let first = memchr::memchr(b'\n', &tail).map_or(0, |at| at + 1);
            tail.drain(..first);
        }
        return Ok((tail, begin == 0));
    }
}
