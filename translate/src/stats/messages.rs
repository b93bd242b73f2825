//! What was read, as CRI's messages.

use super::{
    LayerUsage,
    cgroup::{Memory, Pressure, Stall},
    network::{Interface, Traffic},
};

/// What a cgroup's files said at one time. What could not be read is `None`, and is left out of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Nanoseconds since the epoch.
    pub timestamp: i64,
    /// Processor time so far, in nanoseconds.
    pub cpu: Option<u64>,
    /// Processor time used just now, in billionths of a core.
    pub nano_cores: Option<u64>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Waiting for a processor.
    pub cpu_pressure: Option<Pressure>,
    /// Waiting for memory.
    pub memory_pressure: Option<Pressure>,
    /// Waiting for disks.
    pub io_pressure: Option<Pressure>,
}

impl Sample {
    /// The sum of those of a pod that has no cgroup of its own. How long tasks waited cannot be added up.
    pub fn sum(samples: impl IntoIterator<Item = Self>) -> Self {
        fn add(sum: &mut Option<u64>, more: Option<u64>) {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        }
        let mut sum = Self::default();
        for sample in samples {
            sum.timestamp = sum.timestamp.max(sample.timestamp);
            add(&mut sum.cpu, sample.cpu);
            add(&mut sum.nano_cores, sample.nano_cores);
            add(&mut sum.tasks, sample.tasks);
            if let Some(memory) = sample.memory {
                let all = sum.memory.get_or_insert_default();
                all.usage = all.usage.saturating_add(memory.usage);
                all.inactive_file = all.inactive_file.saturating_add(memory.inactive_file);
                all.rss = all.rss.saturating_add(memory.rss);
                all.faults = all.faults.saturating_add(memory.faults);
                all.major_faults = all.major_faults.saturating_add(memory.major_faults);
            }
        }
        sum
    }

    fn cpu_usage(&self) -> Option<cri::CpuUsage> {
        Some(cri::CpuUsage {
            timestamp: self.timestamp,
            usage_core_nano_seconds: value(self.cpu?),
            usage_nano_cores: self.nano_cores.and_then(value),
            psi: self.cpu_pressure.as_ref().map(psi),
        })
    }

    fn memory_usage(&self) -> Option<cri::MemoryUsage> {
        let memory = self.memory.as_ref()?;
        let available = |limit: u64| limit.saturating_sub(memory.working_set());
        Some(cri::MemoryUsage {
            timestamp: self.timestamp,
            working_set_bytes: value(memory.working_set()),
            available_bytes: memory.limit.map(available).and_then(value),
            usage_bytes: value(memory.usage),
            rss_bytes: value(memory.rss),
            page_faults: value(memory.faults),
            major_page_faults: value(memory.major_faults),
            psi: self.memory_pressure.as_ref().map(psi),
        })
    }

    fn swap_usage(&self) -> Option<cri::SwapUsage> {
        let memory = self.memory.as_ref()?;
        let swap = memory.swap?;
        let available = |limit: u64| limit.saturating_sub(swap);
        Some(cri::SwapUsage {
            timestamp: self.timestamp,
            swap_available_bytes: memory.swap_limit.map(available).and_then(value),
            swap_usage_bytes: value(swap),
        })
    }

    fn io_usage(&self) -> Option<cri::IoUsage> {
        Some(cri::IoUsage {
            timestamp: self.timestamp,
            psi: Some(psi(self.io_pressure.as_ref()?)),
        })
    }
}

/// A container's statistics. One that does not run has no `sample`; `layer` is on the filesystem of `mountpoint`.
pub fn container(
    attributes: cri::ContainerAttributes,
    sample: Option<&Sample>,
    layer: Option<&LayerUsage>,
    mountpoint: &str,
) -> cri::ContainerStats {
    cri::ContainerStats {
        attributes: Some(attributes),
        cpu: sample.and_then(Sample::cpu_usage),
        memory: sample.and_then(Sample::memory_usage),
        writable_layer: layer.map(|layer| cri::FilesystemUsage {
            timestamp: layer.timestamp,
            fs_id: Some(cri::FilesystemIdentifier {
                mountpoint: mountpoint.into(),
            }),
            used_bytes: value(layer.bytes),
            inodes_used: value(layer.inodes),
        }),
        swap: sample.and_then(Sample::swap_usage),
        io: sample.and_then(Sample::io_usage),
    }
}

/// A pod's statistics. One that does not run has no `sample`; one in the host's network has no `network`, as with
/// containerd. The default interface of that is the one called `default`.
pub fn pod(
    attributes: cri::PodSandboxAttributes,
    sample: Option<&Sample>,
    network: Option<&[Interface]>,
    default: &str,
    containers: Vec<cri::ContainerStats>,
) -> cri::PodSandboxStats {
    let timestamp = sample.map_or(0, |sample| sample.timestamp);
    let linux = cri::LinuxPodSandboxStats {
        cpu: sample.and_then(Sample::cpu_usage),
        memory: sample.and_then(Sample::memory_usage),
        network: network.and_then(|interfaces| network_usage(interfaces, default, timestamp)),
        process: sample
            .and_then(|sample| sample.tasks)
            .map(|tasks| cri::ProcessUsage {
                timestamp,
                process_count: value(tasks),
            }),
        containers,
        io: sample.and_then(Sample::io_usage),
    };
    cri::PodSandboxStats {
        attributes: Some(attributes),
        linux: Some(linux),
        windows: None,
    }
}

/// `None` without the default interface, as while a pod's network is being made or taken down: a kubelet that takes
/// statistics from CRI reads it unasked, and would crash.
fn network_usage(interfaces: &[Interface], default: &str, timestamp: i64) -> Option<cri::NetworkUsage> {
    let usage = |interface: &Interface| {
        let Interface { name, received, sent } = interface;
        let parts = |traffic: &Traffic| (value(traffic.bytes), value(traffic.errors));
        let ((rx_bytes, rx_errors), (tx_bytes, tx_errors)) = (parts(received), parts(sent));
        cri::NetworkInterfaceUsage {
            name: name.clone(),
            rx_bytes,
            rx_errors,
            tx_bytes,
            tx_errors,
        }
    };
    let is_default = |interface: &&Interface| interface.name == default;
    Some(cri::NetworkUsage {
        timestamp,
        default_interface: Some(usage(interfaces.iter().find(is_default)?)),
        // CRI wants the others here, without that one.
        interfaces: interfaces
            .iter()
            .filter(|interface| !is_default(interface))
            .map(usage)
            .collect(),
    })
}

fn psi(pressure: &Pressure) -> cri::PsiStats {
    let data = |stall: &Stall| {
        let [avg10, avg60, avg300] = stall.average;
        cri::PsiData {
            // The kernel counts microseconds, CRI nanoseconds.
            total: stall.total.saturating_mul(1000),
            avg10,
            avg60,
            avg300,
        }
    };
    cri::PsiStats {
        full: Some(data(&pressure.full)),
        some: Some(data(&pressure.some)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the form that the messages want")]
const fn value(value: u64) -> Option<cri::UInt64Value> {
    Some(cri::UInt64Value { value })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            timestamp: 5,
            cpu: Some(7),
            nano_cores: None,
            memory: Some(Memory {
                usage: 100,
                inactive_file: 30,
                limit: Some(1000),
                rss: 60,
                ..Memory::default()
            }),
            tasks: Some(3),
            io_pressure: Some(Pressure {
                some: Stall {
                    total: 2,
                    average: [1.0, 2.0, 3.0],
                },
                full: Stall::default(),
            }),
            ..Sample::default()
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let stats = container(cri::ContainerAttributes::default(), Some(&sample()), None, "/m");
        let cpu = stats.cpu.unwrap();
        assert_eq!((cpu.timestamp, cpu.usage_core_nano_seconds), (5, value(7)));
        assert_eq!((cpu.usage_nano_cores, cpu.psi), (None, None));
        let memory = stats.memory.unwrap();
        assert_eq!(memory.working_set_bytes, value(70));
        assert_eq!(memory.available_bytes, value(930));
        assert_eq!((stats.swap, stats.writable_layer), (None, None));
        let some = stats.io.unwrap().psi.unwrap().some.unwrap();
        assert_eq!((some.total, some.avg300), (2000, 3.0));
        let ended = container(cri::ContainerAttributes::default(), None, None, "/m");
        assert!(ended.cpu.is_none() && ended.memory.is_none() && ended.attributes.is_some());
    }

    #[test]
    fn the_default_interface_is_told_once() {
        let interface = |name: &str, bytes| Interface {
            name: name.into(),
            received: Traffic {
                bytes,
                ..Traffic::default()
            },
            ..Interface::default()
        };
        let interfaces = [interface("net1", 1), interface("eth0", 2)];
        let stats = pod(
            cri::PodSandboxAttributes::default(),
            Some(&sample()),
            Some(&interfaces),
            "eth0",
            vec![],
        );
        let linux = stats.linux.unwrap();
        let network = linux.network.unwrap();
        assert_eq!(network.default_interface.unwrap().rx_bytes, value(2));
        let names: Vec<_> = network
            .interfaces
            .iter()
            .map(|interface| &interface.name)
            .collect();
        assert_eq!(names, ["net1"]);
        assert_eq!(linux.process.unwrap().process_count, value(3));
        let host = pod(
            cri::PodSandboxAttributes::default(),
            Some(&sample()),
            None,
            "eth0",
            vec![],
        );
        assert!(host.linux.unwrap().network.is_none());
        let unfinished = pod(
            cri::PodSandboxAttributes::default(),
            Some(&sample()),
            Some(&interfaces[..1]),
            "eth0",
            vec![],
        );
        assert!(unfinished.linux.unwrap().network.is_none());
    }

    #[test]
    fn a_pod_without_a_cgroup_is_the_sum() {
        let sum = Sample::sum([sample(), Sample::default(), sample()]);
        assert_eq!((sum.cpu, sum.tasks, sum.nano_cores), (Some(14), Some(6), None));
        let memory = sum.memory.unwrap();
        assert_eq!((memory.working_set(), memory.limit), (140, None));
        assert_eq!(sum.io_pressure, None);
        assert_eq!(Sample::sum([]), Sample::default());
    }
}
