//! Reads control group files.

use std::{io, str};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};
use translate::stats::{
    cgroup::{self, Memory, Pressure},
    hierarchy::{Cgroup, Directory},
    messages::Sample,
};

/// Larger than any file that is read for a list.
const USUAL: usize = 16 << 10;

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
        self.path.clear();
        self.path.push_str(directory.path());
        self.path.push('/');
        self.path.push_str(file);
        let opened = open(&*self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut length = 0;
        loop {
            match rustix::io::read(&opened, &mut self.buffer[length..]) {
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
    pub(super) fn sample(&mut self, cgroup: &Cgroup) -> Option<Sample> {
        let timestamp = crate::clock::now();
        let cpu = match cgroup.cpuacct.as_ref()? {
            directory @ Directory::V1(_) => self.number(Some(directory), "cpuacct.usage"),
            directory @ Directory::V2(_) => self
                .read(directory, "cpu.stat")
                .ok()
                .and_then(|text| cgroup::field(text, "usage_usec"))
                .map(|microseconds| microseconds.saturating_mul(1000)),
        };
        let memory = cgroup
            .memory
            .as_ref()
            .and_then(|directory| self.memory(directory));
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
        sample.cpu_pressure = self.pressure(cgroup, "cpu.pressure");
        if sample.cpu_pressure.is_some() {
            sample.memory_pressure = self.pressure(cgroup, "memory.pressure");
            sample.io_pressure = self.pressure(cgroup, "io.pressure");
        }
        Some(sample)
    }

    /// How many processes and threads there are.
    pub(super) fn tasks(&mut self, cgroup: &Cgroup) -> Option<u64> {
        self.number(cgroup.pids.as_ref(), "pids.current")
    }

    fn memory(&mut self, directory: &Directory) -> Option<Memory> {
        let here = Some(directory);
        match directory {
            Directory::V1(_) => {
                let memory = Memory::v1(self.read(directory, "memory.stat").ok()?);
                Some(Memory {
                    usage: self.number(here, "memory.usage_in_bytes")?,
                    limit: self.limit(here, "memory.limit_in_bytes"),
                    ..memory
                })
            }
            Directory::V2(_) => {
                let memory = Memory::v2(self.read(directory, "memory.stat").ok()?);
                let swap = self.number(here, "memory.swap.current");
                Some(Memory {
                    usage: self.number(here, "memory.current")?,
                    limit: self.limit(here, "memory.max"),
                    swap,
                    swap_limit: swap.and_then(|_| self.limit(here, "memory.swap.max")),
                    ..memory
                })
            }
        }
    }

    fn pressure(&mut self, cgroup: &Cgroup, file: &str) -> Option<Pressure> {
        cgroup::pressure(self.read(cgroup.unified.as_ref()?, file).ok()?)
    }
}

#[cfg(test)]
mod tests;
