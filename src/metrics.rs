//! dockside's own metrics: what it does, how often, how long that takes and how often it fails.
//!
//! Counted where it happens, in one place for the whole process: handles that go through every call and every
//! thread would cost more than they say. Names of labels come from fixed lists, so that no caller can
//! have any number of them made.

mod http;
mod process;

use std::{
    fmt,
    sync::{LazyLock, PoisonError, RwLock},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use crate::clock;
pub use http::{BindError, Server};

/// The upper ends of latencies' classes in seconds, from a read that costs nothing to a slow pull.
const SECONDS: [f64; 16] = [
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

type Latencies<L> = Family<L, Histogram, fn() -> Histogram>;

/// A CRI call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rpc {
    rpc: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcError {
    rpc: &'static str,
    code: &'static str,
}

/// A call to the Engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineCall {
    call: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineError {
    call: &'static str,
    status: u16,
}

/// A run of a CNI plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CniCommand {
    command: String,
}

/// A session of exec, attach or port-forward.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Session {
    kind: &'static str,
}

struct Metrics {
    rpcs: Latencies<Rpc>,
    rpc_errors: Family<RpcError, Counter>,
    engine_calls: Latencies<EngineCall>,
    engine_errors: Family<EngineError, Counter>,
    cni_commands: Latencies<CniCommand>,
    cni_errors: Family<CniCommand, Counter>,
    log_bytes: Counter,
    log_gaps: Counter,
    log_errors: Counter,
    sessions: Family<Session, Counter>,
    sessions_open: Family<Session, Gauge>,
    registry: RwLock<Registry>,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

impl Metrics {
    fn new() -> Self {
        fn latencies<L: Clone + std::hash::Hash + Eq>() -> Latencies<L> {
            Family::new_with_constructor(|| Histogram::new(SECONDS))
        }
        let metrics = Self {
            rpcs: latencies(),
            rpc_errors: Family::default(),
            engine_calls: latencies(),
            engine_errors: Family::default(),
            cni_commands: latencies(),
            cni_errors: Family::default(),
            log_bytes: Counter::default(),
            log_gaps: Counter::default(),
            log_errors: Counter::default(),
            sessions: Family::default(),
            sessions_open: Family::default(),
            registry: RwLock::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let own = registry.sub_registry_with_prefix("dockside");
        own.register_with_unit(
            "rpc_duration",
            "How long CRI calls took",
            Unit::Seconds,
            self.rpcs.clone(),
        );
        own.register(
            "rpc_errors",
            "CRI calls that failed, by gRPC code",
            self.rpc_errors.clone(),
        );
        own.register_with_unit(
            "engine_call_duration",
            "How long calls to the Docker Engine took, to the head of the answer",
            Unit::Seconds,
            self.engine_calls.clone(),
        );
        own.register(
            "engine_call_errors",
            "Calls that the Docker Engine refused, by HTTP status; 0 where it could not be reached",
            self.engine_errors.clone(),
        );
        own.register_with_unit(
            "cni_command_duration",
            "How long CNI plugins took",
            Unit::Seconds,
            self.cni_commands.clone(),
        );
        own.register(
            "cni_command_errors",
            "CNI plugins that failed",
            self.cni_errors.clone(),
        );
        own.register_with_unit(
            "log_written",
            "Bytes written to containers' logs",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
        own.register(
            "log_gaps",
            "Places in containers' logs where lines are missing or may be",
            self.log_gaps.clone(),
        );
        own.register(
            "log_write_errors",
            "Attempts to copy a container's log that failed; they are repeated",
            self.log_errors.clone(),
        );
        own.register(
            "sessions",
            "Sessions of exec, attach and port-forward that were opened",
            self.sessions.clone(),
        );
        own.register(
            "sessions_open",
            "Sessions of exec, attach and port-forward that are open",
            self.sessions_open.clone(),
        );
        registry.register_collector(Box::new(process::Process {
            started: Duration::from_nanos(clock::now().unsigned_abs()).as_secs_f64(),
        }));
    }
}

/// A CRI call was answered, with this code of gRPC's, or given up.
pub fn rpc(rpc: &'static str, code: &'static str, took: Duration) {
    METRICS
        .rpcs
        .get_or_create(&Rpc { rpc })
        .observe(took.as_secs_f64());
    if code != "OK" {
        METRICS.rpc_errors.get_or_create(&RpcError { rpc, code }).inc();
    }
}

/// The Engine has answered with this HTTP status, or not at all.
pub fn engine(call: &'static str, status: Option<u16>, took: Duration) {
    METRICS
        .engine_calls
        .get_or_create(&EngineCall { call })
        .observe(took.as_secs_f64());
    let status = status.unwrap_or(0);
    if !(100..400).contains(&status) {
        METRICS
            .engine_errors
            .get_or_create(&EngineError { call, status })
            .inc();
    }
}

/// A CNI plugin was run for `command`, one of the few that CNI has.
pub fn cni(command: &str, failed: bool, took: Duration) {
    let label = CniCommand {
        command: command.into(),
    };
    METRICS
        .cni_commands
        .get_or_create(&label)
        .observe(took.as_secs_f64());
    if failed {
        METRICS.cni_errors.get_or_create(&label).inc();
    }
}

/// So many bytes were written to a container's log.
pub fn log_written(bytes: usize) {
    METRICS.log_bytes.inc_by(bytes as u64);
}

/// A container's log has a place where lines are missing, or may be.
pub fn log_gap() {
    METRICS.log_gaps.inc();
}

/// A container's log could not be copied for now.
pub fn log_failed() {
    METRICS.log_errors.inc();
}

/// An open session. It is over when this is dropped.
#[must_use]
pub struct OpenSession(&'static str);

/// A session was opened: `exec`, `attach` or `port-forward`.
pub fn session(kind: &'static str) -> OpenSession {
    METRICS.sessions.get_or_create(&Session { kind }).inc();
    METRICS.sessions_open.get_or_create(&Session { kind }).inc();
    OpenSession(kind)
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        METRICS
            .sessions_open
            .get_or_create(&Session { kind: self.0 })
            .dec();
    }
}

/// Has a counter told with the rest that another part keeps itself; `read` reads it. Its name gets `_total` added.
pub fn counter(name: &'static str, help: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
    let mut registry = METRICS.registry.write().unwrap_or_else(PoisonError::into_inner);
    registry.register_collector(Box::new(Kept { name, help, read }));
}

/// A counter that another part keeps.
struct Kept<F> {
    name: &'static str,
    help: &'static str,
    read: F,
}

impl<F> fmt::Debug for Kept<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Collector for Kept<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = ConstCounter::new((self.read)());
        counter.encode(encoder.encode_descriptor(self.name, self.help, None, counter.metric_type())?)
    }
}

/// All of it, as OpenMetrics text.
pub fn exposition() -> String {
    let mut text = String::new();
    let registry = METRICS.registry.read().unwrap_or_else(PoisonError::into_inner);
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told() {
        // Names of its own: other tests of this process count, too.
        rpc("Told", "OK", Duration::from_millis(2));
        rpc("Told", "Unavailable", Duration::from_millis(2));
        engine("GET /told", None, Duration::from_millis(1));
        cni("TOLD", true, Duration::from_millis(40));
        log_written(100);
        counter("dockside_kept_elsewhere", "Kept elsewhere", || 7);
        let open = session("told");
        let text = exposition();
        for line in [
            "dockside_rpc_duration_seconds_bucket{le=\"0.001\",rpc=\"Told\"} 0",
            "dockside_rpc_duration_seconds_bucket{le=\"0.003\",rpc=\"Told\"} 2",
            "dockside_rpc_errors_total{rpc=\"Told\",code=\"Unavailable\"} 1",
            "dockside_engine_call_errors_total{call=\"GET /told\",status=\"0\"} 1",
            "dockside_cni_command_errors_total{command=\"TOLD\"} 1",
            "dockside_sessions_open{kind=\"told\"} 1",
            "dockside_kept_elsewhere_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        drop(open);
        assert!(exposition().contains("dockside_sessions_open{kind=\"told\"} 0"));
    }
}
