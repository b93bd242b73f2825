//! What the kernel says of processes and of the machine.

use std::{fs, ops::Sub, thread, time::Duration};

/// Linux counts processor time in hundredths of a second here, whatever its own clock is.
const TICK: Duration = Duration::from_millis(10);

/// Processor time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The process's own.
    pub(crate) own: Duration,
    /// That of the children it has waited for, and of theirs.
    pub(crate) children: Duration,
}

impl Times {
    pub(crate) fn of(pid: u32) -> Self {
        let stat = read(&format!("/proc/{pid}/stat"));
        // The name in parentheses may hold anything; the state after it is the third field.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: Vec<u32> = fields
            .split_whitespace()
            .skip(11)
            .take(4)
            .map(|field| field.parse().unwrap())
            .collect();
        Self {
            own: TICK * (ticks[0] + ticks[1]),
            children: TICK * (ticks[2] + ticks[3]),
        }
    }
}

impl Sub for Times {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            own: self.own - earlier.own,
            children: self.children - earlier.children,
        }
    }
}

/// Memory of a process, in MB (a million bytes).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// All that is resident.
    pub(crate) resident: f64,
    /// The part of it that is no file's.
    pub(crate) anonymous: f64,
    /// The most that was ever resident.
    pub(crate) peak: f64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Self {
        let status = read(&format!("/proc/{pid}/status"));
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            value.unwrap_or_else(|| panic!("no {name} in {status}")) * 1024.0 / 1e6
        };
        Self {
            resident: field("VmRSS:"),
            anonymous: field("RssAnon:"),
            peak: field("VmHWM:"),
        }
    }
}

/// The processor time that the whole machine has spent on work.
pub(crate) fn busy() -> Duration {
    let stat = read("/proc/stat");
    let fields = stat.lines().next().unwrap().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.map(|field| field.parse().unwrap()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq; guests' time is in user's.
    let ticks = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6];
    Duration::from_millis(10 * ticks)
}

/// Cores, kernel, load.
pub(crate) fn describe() -> String {
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name"));
    format!(
        "{} cores ({}), Linux {}, load {}",
        thread::available_parallelism().unwrap(),
        model.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        load(),
    )
}

/// The load of the last minute.
pub(crate) fn load() -> String {
    read("/proc/loadavg").split(' ').next().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
