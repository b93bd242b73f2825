#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;
use crate::stats::cgroup::{Memory, Stall};

/// What the kubelet's cAdvisor has for other runtimes' containers, without its prefix.
const NAMES: &str = "blkio_device_usage_total cpu_cfs_periods_total cpu_cfs_throttled_periods_total \
    cpu_cfs_throttled_seconds_total cpu_system_seconds_total cpu_usage_seconds_total cpu_user_seconds_total \
    file_descriptors fs_inodes_free fs_inodes_total fs_limit_bytes fs_reads_bytes_total fs_reads_total \
    fs_usage_bytes fs_writes_bytes_total fs_writes_total hugetlb_max_usage_bytes hugetlb_usage_bytes last_seen \
    memory_cache memory_failcnt memory_failures_total memory_kernel_usage memory_mapped_file \
    memory_max_usage_bytes memory_rss memory_swap memory_usage_bytes memory_working_set_bytes \
    network_receive_bytes_total network_receive_errors_total network_receive_packets_total \
    network_receive_packets_dropped_total network_transmit_bytes_total network_transmit_errors_total \
    network_transmit_packets_total network_transmit_packets_dropped_total oom_events_total \
    pressure_cpu_stalled_seconds_total pressure_cpu_waiting_seconds_total pressure_io_stalled_seconds_total \
    pressure_io_waiting_seconds_total pressure_memory_stalled_seconds_total pressure_memory_waiting_seconds_total \
    processes sockets spec_cpu_period spec_cpu_quota spec_cpu_shares spec_memory_limit_bytes \
    spec_memory_reservation_limit_bytes spec_memory_swap_limit_bytes start_time_seconds threads threads_max \
    ulimits_soft";

fn all() -> PodPoints {
    let io = |operation: &str| Io {
        device: (8, 0),
        operation: operation.into(),
        value: 4096,
    };
    let pressure = Some(Pressure {
        some: Stall {
            total: 1_500_000,
            ..Stall::default()
        },
        full: Stall::default(),
    });
    let sample = Sample {
        timestamp: 1_700_000_000_123_456_789,
        cpu: Some(2_999_999_999),
        memory: Some(Memory {
            usage: 100,
            inactive_file: 40,
            swap: Some(0),
            ..Memory::default()
        }),
        tasks: Some(2),
        cpu_pressure: pressure,
        memory_pressure: pressure,
        io_pressure: pressure,
        ..Sample::default()
    };
    let detail = Detail {
        started_at: 1_700_000_000_000_000_000,
        cpu_user: Some(1),
        cpu_system: Some(1),
        periods: Some(1),
        throttled_periods: Some(1),
        throttled: Some(1),
        cpu_period: Some(1),
        cpu_quota: Some(1),
        cpu_shares: Some(1),
        memory_peak: Some(1),
        memory_failures: Some(1),
        memory_kernel: Some(1),
        memory_reservation: Some(1),
        swap_limit: Some(0),
        oom_kills: Some(0),
        huge_pages: vec![("2MB".into(), 0, Some(0))],
        io_bytes: vec![io("Read"), io("Write"), io("Total")],
        io_operations: vec![io("Read"), io("Write")],
        tasks_limit: Some(0),
        processes: Some(1),
        descriptors: Some(3),
        sockets: Some(0),
        open_files: Some(1024),
    };
    let layer = LayerUsage {
        bytes: 8192,
        inodes: 2,
        timestamp: 1,
    };
    let filesystem = Filesystem {
        device: "/dev/sda".into(),
        ..Filesystem::default()
    };
    let name = |_| "/dev/sda".to_owned();
    let subject = |container: &str, id: &str| Subject {
        pod: "web".into(),
        namespace: "de\"fau\\lt\n".into(),
        container: container.into(),
        id: id.into(),
        image: "nginx".into(),
    };
    PodPoints {
        pod: Points {
            subject: subject("", "5a"),
            points: network(&[Interface {
                name: "eth0".into(),
                ..Interface::default()
            }]),
        },
        containers: vec![Points {
            subject: subject("nginx", "c0"),
            points: container(&sample, &detail, Some(&layer), Some(&filesystem), &name),
        }],
    }
}

#[test]
fn every_name_is_described_and_none_else() {
    let expected: BTreeSet<_> = NAMES
        .split_whitespace()
        .map(|name| format!("container_{name}"))
        .collect();
    let described: Vec<_> = descriptors();
    let names: BTreeSet<_> = described
        .iter()
        .map(|descriptor| descriptor.name.clone())
        .collect();
    assert_eq!(names, expected);
    assert_eq!(described.len(), expected.len());
    for descriptor in &described {
        assert!(!descriptor.help.is_empty(), "{descriptor:?}");
        assert_eq!(
            descriptor.label_keys[..5],
            ["pod", "namespace", "container", "id", "image"]
        );
    }
    let labels = |name: &str| {
        let descriptor = described
            .iter()
            .find(|descriptor| descriptor.name == name)
            .unwrap();
        descriptor.label_keys[5..].to_vec()
    };
    assert_eq!(
        labels("container_memory_failures_total"),
        ["failure_type", "scope"]
    );
    assert_eq!(
        labels("container_blkio_device_usage_total"),
        ["device", "major", "minor", "operation"]
    );
}

#[test]
fn every_sample_fits_its_descriptor() {
    let described = descriptors();
    let pod = pod(all());
    assert_eq!(pod.pod_sandbox_id, "5a");
    assert_eq!(pod.container_metrics[0].container_id, "c0");
    let mut seen = BTreeSet::new();
    for metric in pod.metrics.iter().chain(&pod.container_metrics[0].metrics) {
        let descriptor = described
            .iter()
            .find(|descriptor| descriptor.name == metric.name)
            .unwrap();
        assert_eq!(
            metric.label_values.len(),
            descriptor.label_keys.len(),
            "{metric:?}"
        );
        assert!(metric.value.is_some() && metric.timestamp == 0, "{metric:?}");
        seen.insert(&metric.name);
    }
    assert_eq!(seen.len(), described.len());
    let value = |name: &str| {
        let metric = pod.container_metrics[0]
            .metrics
            .iter()
            .find(|metric| metric.name == name);
        metric.unwrap().value.unwrap().value
    };
    assert_eq!(value("container_cpu_usage_seconds_total"), 2);
    assert_eq!(value("container_memory_working_set_bytes"), 60);
    assert_eq!(value("container_last_seen"), 1_700_000_000);
}

#[test]
fn the_text_has_fractions_and_escapes() {
    let text = exposition(&[all()]);
    let base = r#"pod="web",namespace="de\"fau\\lt\n",container="nginx",id="c0",image="nginx""#;
    for line in [
        format!("container_cpu_usage_seconds_total{{{base}}} 2.999999999"),
        format!("container_pressure_cpu_waiting_seconds_total{{{base}}} 1.500000000"),
        format!(r#"container_memory_failures_total{{{base},failure_type="pgfault",scope="container"}} 0"#),
        "# TYPE container_memory_failcnt counter".into(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let types = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(types, FAMILIES.len());
    assert_eq!(exposition(&[]), "");
}
