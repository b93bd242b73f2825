//! Statistics of cgroup v2 below systemd's slices, against the kernel's own files.

use cri::{
    ContainerStatsRequest, LinuxContainerResources, ListPodSandboxMetricsRequest, PodSandboxStatsRequest,
    UInt64Value,
};

use crate::{
    cgroups::Cgroup,
    node::{PATIENCE, cri, run_pod},
};

const MIB: u64 = 1 << 20;

/// Takes more than its limit, so that some of it is swapped out, writes a file to the disk, and is quiet from then on.
const BUSY: &str = "dd if=/dev/zero of=/dev/shm/much bs=1M count=24; \
                    dd if=/dev/zero of=/file bs=64k count=16 conv=fsync; touch /done; exec sleep 100000";

/// What the kernel says of a cgroup.
#[derive(Debug)]
struct Kernel {
    cpu: u64,
    working_set: u64,
    swap: u64,
    tasks: u64,
    cpu_waiting: u64,
    memory_waiting: u64,
    io_waiting: u64,
}

impl Kernel {
    fn of(cgroup: &Cgroup) -> Self {
        let waiting = |file| {
            let text = cgroup.value(file);
            let total = text.lines().next().and_then(|line| line.rsplit("total=").next());
            total.unwrap().parse::<u64>().unwrap() * 1000
        };
        Self {
            cpu: cgroup.field("cpu.stat", "usage_usec") * 1000,
            working_set: cgroup.number("memory.current") - cgroup.field("memory.stat", "inactive_file"),
            swap: cgroup.number("memory.swap.current"),
            tasks: cgroup.number("pids.current"),
            cpu_waiting: waiting("cpu.pressure"),
            memory_waiting: waiting("memory.pressure"),
            io_waiting: waiting("io.pressure"),
        }
    }
}

/// Fails unless `told` lies between what the kernel said before and after, or as near as the kernel's own counting
/// in batches is.
fn between(what: &str, told: u64, kernel: [u64; 2], slack: u64) {
    let [least, most] = [kernel[0].min(kernel[1]), kernel[0].max(kernel[1])];
    assert!(
        (least.saturating_sub(slack)..=most + slack).contains(&told),
        "{what}: {told} is not between {least} and {most}"
    );
}

fn value(number: Option<UInt64Value>, what: &str) -> u64 {
    number.unwrap_or_else(|| panic!("{what} is missing")).value
}

fn compare(
    cpu: &cri::CpuUsage,
    memory: &cri::MemoryUsage,
    io: &cri::IoUsage,
    before: &Kernel,
    after: &Kernel,
) {
    let both = |of: fn(&Kernel) -> u64| [of(before), of(after)];
    between(
        "cpu",
        value(cpu.usage_core_nano_seconds, "cpu"),
        both(|k| k.cpu),
        0,
    );
    let working_set = value(memory.working_set_bytes, "the working set");
    between("working set", working_set, both(|k| k.working_set), MIB);
    let some = |psi: &Option<cri::PsiStats>| psi.as_ref().and_then(|psi| psi.some.as_ref()).unwrap().total;
    between("pressure of cpu", some(&cpu.psi), both(|k| k.cpu_waiting), 0);
    between(
        "pressure of memory",
        some(&memory.psi),
        both(|k| k.memory_waiting),
        0,
    );
    between("pressure of io", some(&io.psi), both(|k| k.io_waiting), 0);
}

pub(crate) async fn statistics_are_the_kernels() {
    let pod = run_pod("measured", |config| {
        config.command = ["sh", "-c", BUSY].map(Into::into).into();
        config.linux.as_mut().unwrap().resources = Some(LinuxContainerResources {
            memory_limit_in_bytes: 16 << 20,
            memory_swap_limit_in_bytes: 64 << 20,
            ..Default::default()
        });
    })
    .await;
    let (cgroup, end) = (Cgroup::of(&pod.container), tokio::time::Instant::now() + PATIENCE);
    while cri()
        .sh(&pod.container, "ls /done 2>/dev/null || true")
        .await
        .is_empty()
    {
        assert!(tokio::time::Instant::now() < end, "it does not get ready");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(
        cgroup.number("memory.swap.current") > 4 * MIB,
        "nothing was swapped out"
    );

    // The container.
    let request = ContainerStatsRequest {
        container_id: pod.container.clone(),
    };
    let before = Kernel::of(&cgroup);
    let answer = cri().runtime().container_stats(request.clone()).await;
    let after = Kernel::of(&cgroup);
    let stats = answer.unwrap().into_inner().stats.unwrap();
    let (cpu, memory, io) = (stats.cpu.unwrap(), stats.memory.unwrap(), stats.io.unwrap());
    compare(&cpu, &memory, &io, &before, &after);
    let swap = stats.swap.unwrap();
    between(
        "swap",
        value(swap.swap_usage_bytes, "swap"),
        [before.swap, after.swap],
        MIB,
    );
    let limit = value(swap.swap_available_bytes, "free swap") + value(swap.swap_usage_bytes, "swap");
    assert_eq!(limit, 48 * MIB);
    let limit =
        value(memory.available_bytes, "free memory") + value(memory.working_set_bytes, "the working set");
    assert_eq!(limit, 16 * MIB);

    // What it has written is counted by and by.
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = cri().runtime().container_stats(request.clone()).await;
        let layer = answer.unwrap().into_inner().stats.unwrap().writable_layer;
        let bytes = layer.and_then(|layer| layer.used_bytes).map(|bytes| bytes.value);
        if bytes.is_some_and(|bytes| (MIB..2 * MIB).contains(&bytes)) {
            break;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "the writable layer has {bytes:?} bytes"
        );
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }

    // The pod, which is a slice.
    let slice = cgroup.parent();
    assert!(slice.path().ends_with(".slice"), "{}", slice.path());
    let request = PodSandboxStatsRequest {
        pod_sandbox_id: pod.sandbox.clone(),
    };
    let before = Kernel::of(&slice);
    let answer = cri().runtime().pod_sandbox_stats(request).await;
    let after = Kernel::of(&slice);
    let stats = answer.unwrap().into_inner().stats.unwrap().linux.unwrap();
    compare(
        &stats.cpu.unwrap(),
        &stats.memory.unwrap(),
        &stats.io.unwrap(),
        &before,
        &after,
    );
    let tasks = value(stats.process.unwrap().process_count, "processes");
    between("processes", tasks, [before.tasks, after.tasks], 0);
    assert_eq!(stats.containers.len(), 1);
    let interface = stats.network.unwrap().default_interface.unwrap();
    assert_eq!(interface.name, "eth0");

    // Its metrics.
    let before = Kernel::of(&cgroup);
    let answer = cri()
        .runtime()
        .list_pod_sandbox_metrics(ListPodSandboxMetricsRequest::default())
        .await;
    let after = Kernel::of(&cgroup);
    let pods = answer.unwrap().into_inner().pod_metrics;
    let pods: Vec<_> = pods
        .iter()
        .filter(|one| one.pod_sandbox_id == pod.sandbox)
        .collect();
    let [found] = pods[..] else {
        panic!("{} pods", pods.len())
    };
    let containers = &found.container_metrics;
    let container = containers
        .iter()
        .find(|one| one.container_id == pod.container)
        .unwrap();
    let metric = |name: &str| {
        let samples: Vec<_> = container.metrics.iter().filter(|one| one.name == name).collect();
        assert!(!samples.is_empty(), "no {name}");
        samples.iter().map(|one| value(one.value, name)).sum::<u64>()
    };
    let seconds = |of: fn(&Kernel) -> u64| [of(&before) / 1_000_000_000, of(&after) / 1_000_000_000];
    between(
        "cpu seconds",
        metric("container_cpu_usage_seconds_total"),
        seconds(|k| k.cpu),
        0,
    );
    let bytes = [before.working_set, after.working_set];
    between(
        "working set",
        metric("container_memory_working_set_bytes"),
        bytes,
        MIB,
    );
    between(
        "swap",
        metric("container_memory_swap"),
        [before.swap, after.swap],
        MIB,
    );
    let written = metric("container_fs_writes_bytes_total");
    assert!(written >= MIB, "{written} bytes were written to the disk");
    pod.remove().await;
}
