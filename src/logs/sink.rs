//! CRI's side: the log that the kubelet reads and rotates.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::ffi::OsStrExt,
    path::{Component, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, open, openat2, statat, unlinkat},
    io::Errno,
};

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
    /// What could not be written yet.
    pending: Vec<u8>,
}

impl Sink {
    pub(super) const fn new(directory: PathBuf, path: PathBuf) -> Self {
        Self {
            directory,
            path,
            file: None,
            pending: Vec::new(),
        }
    }

    pub(super) fn describe(&self) -> String {
        self.directory.join(&self.path).display().to_string()
    }

    /// Makes the log and its directories unless they are there, and takes an Engine's own log away that
    /// cri-dockerd put in its place as a link.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        self.file = Some(self.open()?);
        Ok(())
    }

    /// Goes on in the file that is at the path now, which is made if it is not there. Nothing has changed
    /// if that fails.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.flush()?;
        self.prepare()
    }

    /// Writes `lines`, after what was left of earlier ones. On an error the rest is kept for another try.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(lines);
            return self.flush();
        }
        let mut rest = lines;
        let written = self.write_some(&mut rest);
        self.pending.extend_from_slice(rest);
        written
    }

    /// Tries to write what is left of earlier lines.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        let written = self.write_some(&mut rest);
        self.pending = rest.to_vec();
        written
    }

    fn write_some(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        if self.file.as_ref().is_some_and(is_deleted) {
            self.file = None;
        }
        if self.file.is_none() {
            self.prepare()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => *rest = &rest[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The last whole lines that were written: of the log itself or, if that is empty, of the one that was
    /// renamed last. What stands behind the last newline is cut off: a crash tore it.
    pub(super) fn tail(&mut self) -> io::Result<Vec<u8>> {
        if self.file.is_none() {
            self.prepare()?;
        }
        let mut tail = Vec::new();
        if let Some(file) = &mut self.file {
            let length = file.metadata()?.len();
            tail = read_tail(file, length)?;
            let whole = memchr::memrchr(b'\n', &tail).map_or(0, |at| at + 1);
            if whole < tail.len() {
                let torn = (tail.len() - whole) as u64;
                file.set_len(length - torn)?;
                tail.truncate(whole);
            }
        }
        if tail.is_empty()
            && let Some(rotated) = self.latest_rotated()
        {
            let mut file = File::open(rotated)?;
            let length = file.metadata()?.len();
            tail = read_tail(&mut file, length)?;
            tail.truncate(memchr::memrchr(b'\n', &tail).map_or(0, |at| at + 1));
        }
        Ok(tail)
    }

    /// The log that the kubelet renamed last: it appends a time, and compresses all but the last.
    fn latest_rotated(&self) -> Option<PathBuf> {
        let log = self.directory.join(&self.path);
        let mut prefix = OsString::from(log.file_name()?);
        prefix.push(".");
        let rotated = |name: &OsStr| {
            name.as_bytes().starts_with(prefix.as_bytes())
                && !name.as_bytes().ends_with(b".gz")
                && !name.as_bytes().ends_with(b".tmp")
        };
        let entries = fs::read_dir(log.parent()?).ok()?;
        let names = entries
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .filter(|name| rotated(name));
        names.max().map(|name| log.with_file_name(name))
    }

    /// Opens the log for appending. Neither a link nor `..` leads out of the pod's directory.
    fn open(&self) -> io::Result<File> {
        fs::create_dir_all(&self.directory)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = open(&self.directory, flags, Mode::empty())?;
        let mut parent = PathBuf::new();
        let mut components = self.path.components().peekable();
        while let Some(component) = components.next() {
            let Component::Normal(name) = component else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the path leaves the pod's log directory",
                ));
            };
            if components.peek().is_none() {
                break;
            }
            parent.push(name);
            match mkdirat(&root, &parent, Mode::from_raw_mode(0o755)) {
                Err(error) if error != Errno::EXIST => return Err(error.into()),
                _ => {}
            }
        }
        let is_link = statat(&root, &self.path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if is_link {
            unlinkat(&root, &self.path, AtFlags::empty())?;
        }
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(File::from(openat2(&root, &self.path, flags, MODE, resolve)?))
    }
}

fn is_deleted(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

fn read_tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let begin = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    if begin > 0 {
        // The first is the end of a line only.
        let first = memchr::memchr(b'\n', &tail).map_or(0, |at| at + 1);
        tail.drain(..first);
    }
    Ok(tail)
}
