//! Processor time as the scheduler counts it, in nanoseconds.

use std::{
    fs,
    time::{Duration, Instant},
};

/// The processor time of a process's threads, and when it was read.
pub(crate) struct Usage {
    pid: u32,
    at: Instant,
    used: Duration,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            pid,
            at: Instant::now(),
            used: used(pid),
        }
    }

    /// What was used since.
    pub(crate) fn since(&self) -> Duration {
        used(self.pid).saturating_sub(self.used)
    }

    /// The same in percent of one core.
    pub(crate) fn share(&self) -> f64 {
        100.0 * self.since().as_secs_f64() / self.at.elapsed().as_secs_f64()
    }
}

/// Threads that have ended do not count: servers keep theirs.
fn used(pid: u32) -> Duration {
    let tasks =
        fs::read_dir(format!("/proc/{pid}/task")).unwrap_or_else(|error| panic!("process {pid}: {error}"));
    let threads = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
    let nanoseconds = threads.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok());
    Duration::from_nanos(nanoseconds.sum())
}
