//! The contents of cgroup files, of both versions.
//!
//! Read as the kubelet's cAdvisor reads them, so that what is reported here and what the kubelet itself reads of
//! the pod's cgroup go together.

/// Limits above this are none: cgroup v1 says so by the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// A file that is one number, such as `memory.current`.
pub fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A file that is a limit, such as `memory.max`; `None` if there is none.
pub fn limit(text: &str) -> Option<u64> {
    number(text).filter(|&bytes| bytes < NO_LIMIT)
}

/// One value of a file of keys and values, such as `cpu.stat`.
pub fn field(text: &str, key: &str) -> Option<u64> {
    fields(text).find_map(|(name, value)| (name == key).then_some(value))
}

fn fields(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// What a cgroup and those below it have in memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Everything that counts towards the limit.
    pub usage: u64,
    /// `None` if there is none.
    pub limit: Option<u64>,
    /// Pages of files that nobody has used lately: the first that the kernel takes back.
    pub inactive_file: u64,
    /// Pages that no file backs.
    pub rss: u64,
    /// Pages of files.
    pub cache: u64,
    /// Pages of files that are mapped.
    pub mapped_file: u64,
    /// The kernel's own; `None` where the file does not tell.
    pub kernel: Option<u64>,
    /// Page faults.
    pub faults: u64,
    /// Page faults that had to be read from a disk.
    pub major_faults: u64,
    /// Page faults of the cgroup alone, without those below it, and those that had to be read from a disk.
    pub own_faults: (u64, u64),
    /// What is swapped out; `None` where swap is not accounted for.
    pub swap: Option<u64>,
    /// How much may be swapped out; `None` if there is no limit.
    pub swap_limit: Option<u64>,
}

impl Memory {
    /// By the `memory.stat` of cgroup v1. `usage` and `limit` are in files of their own.
    pub fn v1(stat: &str) -> Self {
        let mut memory = Self::default();
        let (mut limit, mut limit_with_swap) = (0, u64::MAX);
        for (key, value) in fields(stat) {
            match key {
                "pgfault" => memory.own_faults.0 = value,
                "pgmajfault" => memory.own_faults.1 = value,
                "hierarchical_memory_limit" => limit = value,
                "hierarchical_memsw_limit" => limit_with_swap = value,
                "total_cache" => memory.cache = value,
                "total_rss" => memory.rss = value,
                "total_mapped_file" => memory.mapped_file = value,
                "total_inactive_file" => memory.inactive_file = value,
                "total_pgfault" => memory.faults = value,
                "total_pgmajfault" => memory.major_faults = value,
                "total_swap" => memory.swap = Some(value),
                _ => {}
            }
        }
        if limit_with_swap < NO_LIMIT {
            memory.swap_limit = Some(limit_with_swap.saturating_sub(limit));
        }
        memory
    }

    /// By the `memory.stat` of cgroup v2. `usage`, `limit` and what is swapped are in files of their own.
    pub fn v2(stat: &str) -> Self {
        let mut memory = Self::default();
        let mut parts = 0;
        for (key, value) in fields(stat) {
            match key {
                "anon" => memory.rss = value,
                "file" => memory.cache = value,
                "file_mapped" => memory.mapped_file = value,
                "inactive_file" => memory.inactive_file = value,
                "kernel" => memory.kernel = Some(value),
                // Before Linux 5.18 there are only the parts.
                "kernel_stack" | "pagetables" | "percpu" | "sock" | "vmalloc" | "slab" => {
                    parts = value.saturating_add(parts)
                }
                "pgfault" => memory.faults = value,
                "pgmajfault" => memory.major_faults = value,
                _ => {}
            }
        }
        memory.kernel.get_or_insert(parts);
        memory.own_faults = (memory.faults, memory.major_faults);
        memory
    }

    /// What the kubelet evicts by.
    pub fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

/// How long tasks waited for something.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All of them did.
    pub full: Stall,
}

/// One line of pressure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Microseconds.
    pub total: u64,
    /// Percent of the last 10, 60 and 300 seconds.
    pub average: [f64; 3],
}

/// A file such as `cpu.pressure`. `None` where the kernel does not count pressure.
pub fn pressure(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    let mut found = false;
    for line in text.lines() {
        let mut words = line.split(' ');
        let stall = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        found = true;
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => stall.average[0] = value.parse().unwrap_or_default(),
                "avg60" => stall.average[1] = value.parse().unwrap_or_default(),
                "avg300" => stall.average[2] = value.parse().unwrap_or_default(),
                "total" => stall.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
    }
    found.then_some(pressure)
}

/// Traffic with one block device, of one sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Io {
    /// The device's numbers.
    pub device: (u32, u32),
    /// `Read`, `Write` and so on.
    pub operation: String,
    /// Bytes, or operations.
    pub value: u64,
}

/// A file such as `blkio.throttle.io_service_bytes_recursive` of cgroup v1.
pub fn blkio(text: &str) -> Vec<Io> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let device = device(words.next()?)?;
        Some(Io {
            device,
            operation: words.next()?.to_owned(),
            value: words.next()?.trim().parse().ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// The `io.stat` of cgroup v2: bytes and operations.
pub fn io_stat(text: &str) -> (Vec<Io>, Vec<Io>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some(device) = words.next().and_then(device) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, operation) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "dbytes" => (&mut bytes, "Discard"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                "dios" => (&mut operations, "Discard"),
                _ => continue,
            };
            list.push(Io {
                device,
                operation: operation.into(),
                value: value.parse().unwrap_or_default(),
            });
        }
    }
    (bytes, operations)
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Quota and period of `cpu.max`, in microseconds; no quota if there is no limit.
pub fn cpu_max(text: &str) -> Option<(Option<u64>, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some((quota.parse().ok(), period.parse().ok()?))
}

/// The shares of cgroup v1 that a weight of v2 stands for: the OCI runtimes' formula, backwards.
pub const fn shares(weight: u64) -> u64 {
    2 + weight.saturating_sub(1) * 262_142 / 9_999
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_limits() {
        assert_eq!(number("4308992\n"), Some(4_308_992));
        assert_eq!(number(""), None);
        assert_eq!(limit("67108864\n"), Some(67_108_864));
        assert_eq!((limit("max\n"), limit("9223372036854771712\n")), (None, None));
        let stat = "usage_usec 4820528\nuser_usec 4759120\n";
        assert_eq!(field(stat, "user_usec"), Some(4_759_120));
        assert_eq!(field(stat, "usage"), None);
        assert_eq!(cpu_max("50000 100000\n"), Some((Some(50_000), 100_000)));
        assert_eq!(cpu_max("max 100000\n"), Some((None, 100_000)));
        assert_eq!((shares(1), shares(100), shares(10_000)), (2, 2597, 262_144));
    }

    #[test]
    fn memory_of_v1_is_that_of_the_whole_tree() {
        let stat = "cache 1\nrss 2\nmapped_file 3\npgfault 4\npgmajfault 5\ninactive_file 6\n\
                    hierarchical_memory_limit 100\nhierarchical_memsw_limit 150\ntotal_cache 10\ntotal_rss 20\n\
                    total_mapped_file 30\ntotal_swap 7\ntotal_pgfault 40\ntotal_pgmajfault 50\ntotal_inactive_file 60\n";
        let mut memory = Memory::v1(stat);
        let expected = Memory {
            cache: 10,
            rss: 20,
            mapped_file: 30,
            faults: 40,
            major_faults: 50,
            own_faults: (4, 5),
            inactive_file: 60,
            swap: Some(7),
            swap_limit: Some(50),
            ..Memory::default()
        };
        assert_eq!(memory, expected);
        memory.usage = 100;
        assert_eq!(memory.working_set(), 40);
        memory.usage = 50;
        assert_eq!(memory.working_set(), 0);
        let unlimited =
            "hierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit 9223372036854771712\n";
        assert_eq!(Memory::v1(unlimited).swap_limit, None);
        assert_eq!(Memory::v1("").swap, None);
    }

    #[test]
    fn pressure_has_two_lines_and_may_be_off() {
        let text = "some avg10=27.07 avg60=6.10 avg300=1.32 total=4919349\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let found = pressure(text).unwrap();
        assert_eq!(found.some.average, [27.07, 6.1, 1.32]);
        assert_eq!((found.some.total, found.full.total), (4_919_349, 7));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn traffic_is_told_by_device() {
        let read = |value| Io {
            device: (8, 16),
            operation: "Read".into(),
            value,
        };
        assert_eq!(blkio("8:16 Read 5\nTotal 5\n"), [read(5)]);
        let (bytes, operations) = io_stat("8:16 rbytes=5 rios=1\n7:0 \nnonsense\n");
        assert_eq!((bytes, operations), (vec![read(5)], vec![read(1)]));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\PC|\n|[a-z_]{1,8} [0-9]{1,25}\n|[0-9]{1,12}:[0-9] [a-z]+=[0-9]{1,22}\n)*") {
            let _ = (number(&text), limit(&text), field(&text, "x"), cpu_max(&text), pressure(&text));
            let _ = (Memory::v1(&text).working_set(), Memory::v2(&text), blkio(&text), io_stat(&text));
        }
    }
}
