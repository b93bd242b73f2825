//! The samples that the kubelet's cAdvisor has for other runtimes' containers, by the names it has for them.

mod families;
mod text;

use families::{self as family, BASE};
pub use families::{FAMILIES, Family};
pub use text::exposition;

use super::{
    LayerUsage,
    cgroup::{Io, Pressure},
    messages::Sample,
    network::Interface,
};

/// What only these samples need of a container, beside its [`Sample`]. What could not be read is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// When its first process was started, in nanoseconds since the epoch.
    pub started_at: i64,
    /// Nanoseconds.
    pub cpu_user: Option<u64>,
    /// Nanoseconds.
    pub cpu_system: Option<u64>,
    /// Periods that the quota was counted in.
    pub periods: Option<u64>,
    /// Those of them in which it was used up.
    pub throttled_periods: Option<u64>,
    /// Nanoseconds.
    pub throttled: Option<u64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds; `None` if there is no limit.
    pub cpu_quota: Option<u64>,
    /// In cgroup v1's measure.
    pub cpu_shares: Option<u64>,
    /// The most that was in use.
    pub memory_peak: Option<u64>,
    /// How often the limit was hit.
    pub memory_failures: Option<u64>,
    /// The kernel's own memory.
    pub memory_kernel: Option<u64>,
    /// The soft limit; `None` if there is none.
    pub memory_reservation: Option<u64>,
    /// The limit of memory and swap (v1) or of swap (v2), 0 if there is none.
    pub swap_limit: Option<u64>,
    /// Processes killed because memory ran out.
    pub oom_kills: Option<u64>,
    /// Size of the pages, bytes in use, most bytes in use.
    pub huge_pages: Vec<(String, u64, Option<u64>)>,
    /// Bytes from and to devices.
    pub io_bytes: Vec<Io>,
    /// Operations on devices.
    pub io_operations: Vec<Io>,
    /// The limit of processes and threads, 0 if there is none.
    pub tasks_limit: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
    /// Their open files.
    pub descriptors: Option<u64>,
    /// Those of them that are sockets.
    pub sockets: Option<u64>,
    /// How many files its first process may open; `None` if there is no limit.
    pub open_files: Option<u64>,
}

/// The filesystem that writable layers are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// Its device's file.
    pub device: String,
    /// Its size in bytes.
    pub size: u64,
    /// Inodes that it has.
    pub inodes: u64,
    /// Those that are free.
    pub inodes_free: u64,
}

/// One sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    family: &'static Family,
    /// The values of the family's own labels.
    labels: Vec<String>,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Count(u64),
    /// Shown in seconds.
    Nanoseconds(u64),
}

/// Whose samples they are: the values of the labels that all of them have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The pod's name.
    pub pod: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The container's name; empty for the pod itself.
    pub container: String,
    /// The container's id, or the sandbox's.
    pub id: String,
    /// The container's image; empty for the pod itself.
    pub image: String,
}

/// A subject and its samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Points {
    /// Whose they are.
    pub subject: Subject,
    /// The samples.
    pub points: Vec<Point>,
}

/// A pod's samples and those of its containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodPoints {
    /// Its own, with the sandbox's id.
    pub pod: Points,
    /// Its containers'.
    pub containers: Vec<Points>,
}

/// What ListMetricDescriptors answers.
pub fn descriptors() -> Vec<cri::MetricDescriptor> {
    let labels = |family: &Family| BASE.iter().chain(family.labels).map(|&key| key.to_owned());
    FAMILIES
        .iter()
        .map(|family| cri::MetricDescriptor {
            name: family.name.into(),
            help: family.help.into(),
            label_keys: labels(family).collect(),
        })
        .collect()
}

/// A pod's part of what ListPodSandboxMetrics answers.
pub fn pod(points: PodPoints) -> cri::PodSandboxMetrics {
    cri::PodSandboxMetrics {
        metrics: messages(&points.pod),
        pod_sandbox_id: points.pod.subject.id,
        container_metrics: points
            .containers
            .into_iter()
            .map(|points| cri::ContainerMetrics {
                metrics: messages(&points),
                container_id: points.subject.id,
            })
            .collect(),
    }
}

fn messages(points: &Points) -> Vec<cri::Metric> {
    let base = points.subject.labels();
    let message = |point: &Point| cri::Metric {
        name: point.family.name.into(),
        // Collected for this call.
        timestamp: 0,
        metric_type: point.family.kind.into(),
        label_values: base
            .iter()
            .map(|&value| value.to_owned())
            .chain(point.labels.iter().cloned())
            .collect(),
        value: Some(cri::UInt64Value {
            value: match point.value {
                Value::Count(count) => count,
                // CRI has whole numbers only.
                Value::Nanoseconds(nanoseconds) => nanoseconds / 1_000_000_000,
            },
        }),
    };
    points.points.iter().map(message).collect()
}

impl Subject {
    /// In the order of [`BASE`].
    fn labels(&self) -> [&str; BASE.len()] {
        [&self.pod, &self.namespace, &self.container, &self.id, &self.image]
    }
}

/// Collects points; what is `None` has none.
#[derive(Default)]
struct Sheet(Vec<Point>);

impl Sheet {
    fn with(&mut self, family: &'static Family, labels: &[&str], value: Value) {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.0.push(Point {
            family,
            labels,
            value,
        });
    }

    fn count(&mut self, family: &'static Family, value: impl Into<Option<u64>>) {
        if let Some(value) = value.into() {
            self.with(family, &[], Value::Count(value));
        }
    }

    fn time(&mut self, family: &'static Family, nanoseconds: Option<u64>) {
        if let Some(nanoseconds) = nanoseconds {
            self.with(family, &[], Value::Nanoseconds(nanoseconds));
        }
    }

    fn pressure(&mut self, waiting: &'static Family, stalled: &'static Family, of: Option<Pressure>) {
        let nanoseconds = |microseconds: u64| Some(microseconds.saturating_mul(1000));
        if let Some(pressure) = of {
            self.time(waiting, nanoseconds(pressure.some.total));
            self.time(stalled, nanoseconds(pressure.full.total));
        }
    }
}

/// A container's samples. `name` gives the name of a device by its numbers.
pub fn container(
    sample: &Sample,
    detail: &Detail,
    layer: Option<&LayerUsage>,
    filesystem: Option<&Filesystem>,
    name: &dyn Fn((u32, u32)) -> String,
) -> Vec<Point> {
    let mut sheet = Sheet::default();
    sheet.count(
        &family::LAST_SEEN,
        u64::try_from(sample.timestamp / 1_000_000_000).ok(),
    );
    let started = u64::try_from(detail.started_at).ok().filter(|&at| at > 0);
    sheet.time(&family::START_TIME, started);
    processor(&mut sheet, sample, detail);
    memory(&mut sheet, sample, detail);
    devices(&mut sheet, detail, name);
    if let Some(filesystem) = filesystem {
        let device = [filesystem.device.as_str()];
        if let Some(layer) = layer {
            sheet.with(&family::FS_USAGE, &device, Value::Count(layer.bytes));
        }
        sheet.with(&family::FS_LIMIT, &device, Value::Count(filesystem.size));
        sheet.with(&family::FS_INODES, &device, Value::Count(filesystem.inodes));
        sheet.with(
            &family::FS_INODES_FREE,
            &device,
            Value::Count(filesystem.inodes_free),
        );
    }
    sheet.pressure(&family::CPU_WAITING, &family::CPU_STALLED, sample.cpu_pressure);
    sheet.pressure(
        &family::MEMORY_WAITING,
        &family::MEMORY_STALLED,
        sample.memory_pressure,
    );
    sheet.pressure(&family::IO_WAITING, &family::IO_STALLED, sample.io_pressure);
    sheet.count(&family::PROCESSES, detail.processes);
    sheet.count(&family::THREADS, sample.tasks);
    sheet.count(&family::THREADS_MAX, detail.tasks_limit);
    sheet.count(&family::FILE_DESCRIPTORS, detail.descriptors);
    sheet.count(&family::SOCKETS, detail.sockets);
    if let Some(files) = detail.open_files {
        sheet.with(&family::ULIMITS, &["max_open_files"], Value::Count(files));
    }
    sheet.0
}

fn processor(sheet: &mut Sheet, sample: &Sample, detail: &Detail) {
    sheet.time(&family::CPU_USAGE, sample.cpu);
    sheet.time(&family::CPU_USER, detail.cpu_user);
    sheet.time(&family::CPU_SYSTEM, detail.cpu_system);
    sheet.count(&family::CFS_PERIODS, detail.periods);
    sheet.count(&family::CFS_THROTTLED_PERIODS, detail.throttled_periods);
    sheet.time(&family::CFS_THROTTLED, detail.throttled);
    sheet.count(&family::SPEC_CPU_PERIOD, detail.cpu_period);
    sheet.count(&family::SPEC_CPU_QUOTA, detail.cpu_quota);
    sheet.count(&family::SPEC_CPU_SHARES, detail.cpu_shares);
}

fn memory(sheet: &mut Sheet, sample: &Sample, detail: &Detail) {
    let Some(memory) = &sample.memory else { return };
    sheet.count(&family::MEMORY_USAGE, memory.usage);
    sheet.count(&family::MEMORY_WORKING_SET, memory.working_set());
    sheet.count(&family::MEMORY_RSS, memory.rss);
    sheet.count(&family::MEMORY_CACHE, memory.cache);
    sheet.count(&family::MEMORY_MAPPED, memory.mapped_file);
    sheet.count(&family::MEMORY_SWAP, memory.swap);
    sheet.count(&family::MEMORY_KERNEL, detail.memory_kernel.or(memory.kernel));
    sheet.count(&family::MEMORY_MAX, detail.memory_peak);
    sheet.count(&family::MEMORY_FAILCNT, detail.memory_failures);
    sheet.count(&family::OOM_EVENTS, detail.oom_kills);
    let faults = [
        ("container", memory.own_faults),
        ("hierarchy", (memory.faults, memory.major_faults)),
    ];
    for (scope, (all, major)) in faults {
        sheet.with(&family::MEMORY_FAILURES, &["pgfault", scope], Value::Count(all));
        sheet.with(
            &family::MEMORY_FAILURES,
            &["pgmajfault", scope],
            Value::Count(major),
        );
    }
    sheet.count(&family::SPEC_MEMORY_LIMIT, memory.limit.unwrap_or(0));
    sheet.count(&family::SPEC_MEMORY_RESERVATION, detail.memory_reservation);
    sheet.count(&family::SPEC_SWAP_LIMIT, detail.swap_limit);
    for (size, used, most) in &detail.huge_pages {
        sheet.with(&family::HUGETLB, &[size], Value::Count(*used));
        if let Some(most) = most {
            sheet.with(&family::HUGETLB_MAX, &[size], Value::Count(*most));
        }
    }
}

fn devices(sheet: &mut Sheet, detail: &Detail, name: &dyn Fn((u32, u32)) -> String) {
    for io in &detail.io_bytes {
        let (device, (major, minor)) = (name(io.device), io.device);
        let labels = [&device, &major.to_string(), &minor.to_string(), &io.operation];
        let labels = labels.map(String::as_str);
        sheet.with(&family::BLKIO, &labels, Value::Count(io.value));
        match io.operation.as_str() {
            "Read" => sheet.with(&family::FS_READ_BYTES, &[&device], Value::Count(io.value)),
            "Write" => sheet.with(&family::FS_WRITTEN_BYTES, &[&device], Value::Count(io.value)),
            _ => {}
        }
    }
    for io in &detail.io_operations {
        let device = name(io.device);
        match io.operation.as_str() {
            "Read" => sheet.with(&family::FS_READS, &[&device], Value::Count(io.value)),
            "Write" => sheet.with(&family::FS_WRITES, &[&device], Value::Count(io.value)),
            _ => {}
        }
    }
}

/// A pod's samples: its network's.
pub fn network(interfaces: &[Interface]) -> Vec<Point> {
    let mut sheet = Sheet::default();
    for Interface { name, received, sent } in interfaces {
        for (family, value) in [
            (&family::RECEIVED, received.bytes),
            (&family::RECEIVED_PACKETS, received.packets),
            (&family::RECEIVED_ERRORS, received.errors),
            (&family::RECEIVED_DROPPED, received.dropped),
            (&family::SENT, sent.bytes),
            (&family::SENT_PACKETS, sent.packets),
            (&family::SENT_ERRORS, sent.errors),
            (&family::SENT_DROPPED, sent.dropped),
        ] {
            sheet.with(family, &[name], Value::Count(value));
        }
    }
    sheet.0
}

#[cfg(test)]
mod tests;
