//! The names, as cAdvisor has them.

use cri::MetricType;

/// The labels that all samples have, in this order, before a family's own.
pub(super) const BASE: [&str; 5] = ["pod", "namespace", "container", "id", "image"];

/// All samples of one name.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// A sentence about it.
    pub help: &'static str,
    /// Counters only grow.
    pub kind: MetricType,
    /// Labels of its own, after those that all have.
    pub labels: &'static [&'static str],
}

macro_rules! families {
    ($($name:ident $kind:ident $text:literal [$($label:literal)*] $help:literal)*) => {
        $(pub(super) static $name: Family = Family {
            name: concat!("container_", $text),
            help: $help,
            kind: MetricType::$kind,
            labels: &[$($label),*],
        };)*

        /// All of them.
        pub static FAMILIES: &[&Family] = &[$(&$name),*];
    };
}

families! {
    LAST_SEEN Gauge "last_seen" [] "When the container was last seen running, in seconds since the epoch"
    START_TIME Gauge "start_time_seconds" [] "When the container was started, in seconds since the epoch"

    CPU_USAGE Counter "cpu_usage_seconds_total" [] "Processor time used"
    CPU_USER Counter "cpu_user_seconds_total" [] "Processor time used outside of the kernel"
    CPU_SYSTEM Counter "cpu_system_seconds_total" [] "Processor time used in the kernel"
    CFS_PERIODS Counter "cpu_cfs_periods_total" [] "Periods in which the container was runnable"
    CFS_THROTTLED_PERIODS Counter "cpu_cfs_throttled_periods_total" [] "Periods in which the quota was used up"
    CFS_THROTTLED Counter "cpu_cfs_throttled_seconds_total" [] "Time that the quota has kept from the container"
    SPEC_CPU_PERIOD Gauge "spec_cpu_period" [] "Period of the processor quota in microseconds"
    SPEC_CPU_QUOTA Gauge "spec_cpu_quota" [] "Processor quota in microseconds for each period"
    SPEC_CPU_SHARES Gauge "spec_cpu_shares" [] "Processor shares"

    MEMORY_USAGE Gauge "memory_usage_bytes" [] "Memory in use, cached files included"
    MEMORY_WORKING_SET Gauge "memory_working_set_bytes" [] "Memory in use without files that were not used lately"
    MEMORY_RSS Gauge "memory_rss" [] "Memory in use that no file backs, in bytes"
    MEMORY_CACHE Gauge "memory_cache" [] "Memory in use for files, in bytes"
    MEMORY_MAPPED Gauge "memory_mapped_file" [] "Memory in use for files that are mapped, in bytes"
    MEMORY_SWAP Gauge "memory_swap" [] "Memory that is swapped out, in bytes"
    MEMORY_KERNEL Gauge "memory_kernel_usage" [] "Memory that the kernel uses for the container, in bytes"
    MEMORY_MAX Gauge "memory_max_usage_bytes" [] "The most memory that was in use"
    MEMORY_FAILCNT Counter "memory_failcnt" [] "How often the memory limit was hit"
    MEMORY_FAILURES Counter "memory_failures_total" ["failure_type" "scope"] "Page faults"
    OOM_EVENTS Counter "oom_events_total" [] "Processes killed because memory ran out"
    SPEC_MEMORY_LIMIT Gauge "spec_memory_limit_bytes" [] "Memory limit, 0 if there is none"
    SPEC_MEMORY_RESERVATION Gauge "spec_memory_reservation_limit_bytes" [] "Soft memory limit"
    SPEC_SWAP_LIMIT Gauge "spec_memory_swap_limit_bytes" [] "Swap limit, 0 if there is none; with cgroup v1 of memory and swap together"
    HUGETLB Gauge "hugetlb_usage_bytes" ["pagesize"] "Huge pages in use"
    HUGETLB_MAX Gauge "hugetlb_max_usage_bytes" ["pagesize"] "The most huge pages that were in use"

    BLKIO Counter "blkio_device_usage_total" ["device" "major" "minor" "operation"] "Bytes from and to block devices"
    FS_READ_BYTES Counter "fs_reads_bytes_total" ["device"] "Bytes read from block devices"
    FS_READS Counter "fs_reads_total" ["device"] "Reads from block devices"
    FS_WRITTEN_BYTES Counter "fs_writes_bytes_total" ["device"] "Bytes written to block devices"
    FS_WRITES Counter "fs_writes_total" ["device"] "Writes to block devices"
    FS_USAGE Gauge "fs_usage_bytes" ["device"] "Bytes that the writable layer takes"
    FS_LIMIT Gauge "fs_limit_bytes" ["device"] "Bytes that the filesystem of the writable layer has"
    FS_INODES Gauge "fs_inodes_total" ["device"] "Inodes that the filesystem of the writable layer has"
    FS_INODES_FREE Gauge "fs_inodes_free" ["device"] "Inodes of it that are free"

    CPU_WAITING Counter "pressure_cpu_waiting_seconds_total" [] "Time in which some task waited for a processor"
    CPU_STALLED Counter "pressure_cpu_stalled_seconds_total" [] "Time in which all tasks waited for a processor"
    MEMORY_WAITING Counter "pressure_memory_waiting_seconds_total" [] "Time in which some task waited for memory"
    MEMORY_STALLED Counter "pressure_memory_stalled_seconds_total" [] "Time in which all tasks waited for memory"
    IO_WAITING Counter "pressure_io_waiting_seconds_total" [] "Time in which some task waited for a disk"
    IO_STALLED Counter "pressure_io_stalled_seconds_total" [] "Time in which all tasks waited for a disk"

    PROCESSES Gauge "processes" [] "Processes"
    THREADS Gauge "threads" [] "Processes and threads"
    THREADS_MAX Gauge "threads_max" [] "Limit of processes and threads, 0 if there is none"
    FILE_DESCRIPTORS Gauge "file_descriptors" [] "Open files of all processes"
    SOCKETS Gauge "sockets" [] "Open sockets of all processes"
    ULIMITS Gauge "ulimits_soft" ["ulimit"] "Soft limits of the first process"

    RECEIVED Counter "network_receive_bytes_total" ["interface"] "Bytes received"
    RECEIVED_PACKETS Counter "network_receive_packets_total" ["interface"] "Packets received"
    RECEIVED_ERRORS Counter "network_receive_errors_total" ["interface"] "Packets received that were broken"
    RECEIVED_DROPPED Counter "network_receive_packets_dropped_total" ["interface"] "Packets received that found no room"
    SENT Counter "network_transmit_bytes_total" ["interface"] "Bytes sent"
    SENT_PACKETS Counter "network_transmit_packets_total" ["interface"] "Packets sent"
    SENT_ERRORS Counter "network_transmit_errors_total" ["interface"] "Packets that could not be sent"
    SENT_DROPPED Counter "network_transmit_packets_dropped_total" ["interface"] "Packets to send that found no room"
}
