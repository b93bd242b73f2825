//! Reads control group files.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    str,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, pread},
};
use translate::stats::{
    cgroup::{self, Memory, Pressure},
    hierarchy::{Cgroup, Directory},
    messages::Sample,
};

/// Larger than any file that is read for a list.
const USUAL: usize = 16 << 10;

/// The files of a cgroup that lists of statistics read again and again, by their names.
///
/// They stay open: to open one costs several times what it costs to read a number from it.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<(&'static str, OwnedFd)>);

/// Reads files into one buffer, one after another.
pub(super) struct Reader {
    buffer: Vec<u8>,
    path: String,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; USUAL],
            path: String::with_capacity(256),
        }
    }

    /// The text of a control group's file.
    pub(super) fn read(&mut self, directory: &Directory, file: &str) -> io::Result<&str> {
        let file = self.open(directory, file)?;
        self.text(&file)
    }

    /// The same of a file that is kept open.
    fn again(&mut self, kept: &mut Kept, directory: &Directory, file: &'static str) -> io::Result<&str> {
        let place = match kept.0.iter().position(|(name, _)| *name == file) {
            Some(place) => place,
            None => {
                kept.0.push((file, self.open(directory, file)?));
                kept.0.len() - 1
            }
        };
        self.text(&kept.0[place].1)
    }

    fn open(&mut self, directory: &Directory, file: &str) -> io::Result<OwnedFd> {
        self.path.clear();
        self.path.push_str(directory.path());
        self.path.push('/');
        self.path.push_str(file);
        Ok(open(
            &*self.path,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }

    fn text(&mut self, file: impl AsFd) -> io::Result<&str> {
        let mut length = 0;
        loop {
            match pread(&file, &mut self.buffer[length..], length as u64) {
                Err(Errno::INTR) => {}
                other => length += other?,
            }
            // The kernel makes such a file in one piece: a second read, which finds its end, is needed only where
            // the first may have found no room.
            if length < self.buffer.len() {
                break;
            }
            self.buffer.resize(2 * length, 0);
        }
        str::from_utf8(&self.buffer[..length]).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// One number of a file, where the machine has the controller and the file.
    pub(super) fn number(&mut self, directory: Option<&Directory>, file: &str) -> Option<u64> {
        cgroup::number(self.read(directory?, file).ok()?)
    }

    /// A limit; `None` if there is none.
    pub(super) fn limit(&mut self, directory: Option<&Directory>, file: &str) -> Option<u64> {
        cgroup::limit(self.read(directory?, file).ok()?)
    }

    /// All that lists of statistics tell of a cgroup; `None` if it is gone.
    pub(super) fn sample(&mut self, cgroup: &Cgroup, kept: &mut Kept) -> Option<Sample> {
        let timestamp = crate::clock::now();
        let cpu = match cgroup.cpuacct.as_ref()? {
            directory @ Directory::V1(_) => self
                .again(kept, directory, "cpuacct.usage")
                .ok()
                .and_then(cgroup::number),
            directory @ Directory::V2(_) => self
                .again(kept, directory, "cpu.stat")
                .ok()
                .and_then(|text| cgroup::field(text, "usage_usec"))
                .map(|microseconds| microseconds.saturating_mul(1000)),
        };
        let memory = cgroup
            .memory
            .as_ref()
            .and_then(|directory| self.memory(directory, kept));
        if cpu.is_none() && memory.is_none() {
            return None;
        }
        let mut sample = Sample {
            timestamp,
            cpu,
            memory,
            ..Sample::default()
        };
        // Where one is not counted, none is.
        sample.cpu_pressure = self.pressure(cgroup, kept, "cpu.pressure");
        if sample.cpu_pressure.is_some() {
            sample.memory_pressure = self.pressure(cgroup, kept, "memory.pressure");
            sample.io_pressure = self.pressure(cgroup, kept, "io.pressure");
        }
        Some(sample)
    }

    /// How many processes and threads there are.
    pub(super) fn tasks(&mut self, cgroup: &Cgroup) -> Option<u64> {
        self.number(cgroup.pids.as_ref(), "pids.current")
    }

    fn memory(&mut self, directory: &Directory, kept: &mut Kept) -> Option<Memory> {
        let [usage, limit] = match directory {
            Directory::V1(_) => ["memory.usage_in_bytes", "memory.limit_in_bytes"],
            Directory::V2(_) => ["memory.current", "memory.max"],
        };
        let text = self.again(kept, directory, "memory.stat").ok()?;
        let mut memory = match directory {
            Directory::V1(_) => Memory::v1(text),
            Directory::V2(_) => Memory::v2(text),
        };
        memory.usage = cgroup::number(self.again(kept, directory, usage).ok()?)?;
        memory.limit = self.again(kept, directory, limit).ok().and_then(cgroup::limit);
        if let Directory::V2(_) = directory {
            memory.swap = self
                .again(kept, directory, "memory.swap.current")
                .ok()
                .and_then(cgroup::number);
            memory.swap_limit = memory.swap.and_then(|_| {
                let text = self.again(kept, directory, "memory.swap.max").ok()?;
                cgroup::limit(text)
            });
        }
        Some(memory)
    }

    fn pressure(&mut self, cgroup: &Cgroup, kept: &mut Kept, file: &'static str) -> Option<Pressure> {
        cgroup::pressure(self.again(kept, cgroup.unified.as_ref()?, file).ok()?)
    }
}

#[cfg(test)]
mod tests;
