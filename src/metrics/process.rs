//! This process, by the names that Prometheus' own clients have for it.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Looks when it is asked.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since the epoch.
    pub(super) started: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let used = ConstCounter::new(seconds(time.tv_sec, time.tv_nsec));
        let metric = encoder.encode_descriptor(
            "process_cpu",
            "Processor time used",
            Some(&Unit::Seconds),
            used.metric_type(),
        )?;
        used.encode(metric)?;
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        if let Some(kilobytes) = field("VmRSS:") {
            let bytes = kilobytes * 1024.0;
            gauge(
                "process_resident_memory",
                "Memory in use",
                Some(&Unit::Bytes),
                bytes,
            )?;
        }
        if let Some(threads) = field("Threads:") {
            gauge("process_threads", "Threads", None, threads)?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory itself.
            #[expect(clippy::cast_precision_loss, reason = "so many files there are not")]
            let open = files.count().saturating_sub(1) as f64;
            gauge("process_open_fds", "Open files", None, open)?;
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            #[expect(clippy::cast_precision_loss, reason = "so many files there are not")]
            let limit = limit as f64;
            gauge("process_max_fds", "Files that may be open", None, limit)?;
        }
        gauge(
            "process_start_time",
            "When the process was started, in seconds since the epoch",
            Some(&Unit::Seconds),
            self.started,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown in seconds")]
fn seconds(seconds: i64, nanoseconds: i64) -> f64 {
    seconds as f64 + nanoseconds as f64 / 1e9
}
