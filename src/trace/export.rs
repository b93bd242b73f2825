//! Sends spans to a collector, by OTLP over gRPC.
//!
//! A thread of OpenTelemetry's gathers and sends them. What waits for it is bounded, and what finds no room is dropped: no call waits
//! for a collector. `OTEL_BSP_*`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_*` (headers and
//! timeouts) are read by its crates.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::EnvResourceDetector,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::{info, warn};

use super::TRACER;
use crate::cli::VERSION;

/// How long the end waits for the last spans to be sent.
const FLUSH: Duration = Duration::from_secs(3);

/// Between two complaints about a collector.
const PAUSE: Duration = Duration::from_secs(600);

/// Spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("cannot send spans to {endpoint}: {source}; see --tracing-endpoint")]
pub struct Unusable {
    endpoint: String,
    source: ExporterBuildError,
}

/// Exports spans.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
}

impl Exporter {
    /// Has spans of this process sent to the collector at `endpoint` from now on, which need not answer yet. Of calls whose
    /// callers do not trace them so many in a million are. Called once, inside of a tokio runtime.
    pub fn start(endpoint: &str, per_million: u32) -> Result<Self, Unusable> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build();
        let exporter = exporter.map_err(|source| Unusable {
            endpoint: endpoint.into(),
            source,
        })?;
        let roots = Sampler::TraceIdRatioBased(f64::from(per_million) / 1e6);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(roots)))
            .with_resource(resource())
            .with_batch_exporter(Telling {
                exporter,
                endpoint: endpoint.into(),
                trouble: Mutex::default(),
            })
            .build();
        // Whoever came first goes on.
        let _ = TRACER.set(provider.tracer("dockside"));
        Ok(Self { provider })
    }

    /// Sends what is left, as long as that takes little time.
    pub async fn stop(self) {
        let flush = move || self.provider.shutdown_with_timeout(FLUSH);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(flush).await {
            info!("the last spans were not sent: {error}");
        }
    }
}

/// Who the spans are from. What the environment says goes first.
fn resource() -> Resource {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let service = std::env::var("OTEL_SERVICE_NAME")
        .ok()
        .filter(|name| !name.is_empty());
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "dockside"),
            KeyValue::new("service.version", VERSION),
            KeyValue::new("host.name", host.trim_end().to_owned()),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()));
    match service {
        Some(name) => resource.with_service_name(name),
        None => resource,
    }
    .build()
}

/// An exporter whose failures are told, but not each of them.
#[derive(Debug)]
struct Telling<E> {
    exporter: E,
    endpoint: String,
    trouble: Mutex<Trouble>,
}

impl<E: SpanExporter> SpanExporter for Telling<E> {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let count = spans.len();
        let sent = self.exporter.export(spans).await;
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = &self.endpoint;
        match (trouble.note(Instant::now(), sent.is_ok(), count), &sent) {
            (Some(lost), Err(error)) => {
                warn!(lost, "cannot send spans to {endpoint}: {error}; going on without")
            }
            (Some(lost), Ok(())) => info!(lost, "spans are sent to {endpoint} again"),
            (None, _) => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// What is known, and was told, of a collector that does not take spans.
#[derive(Debug, Default)]
struct Trouble {
    /// When a failure was told last.
    told: Option<Instant>,
    /// Whether its end is to be told.
    open: bool,
    /// Spans since the collector took some.
    lost: usize,
}

impl Trouble {
    /// Notes an attempt. If it is worth telling: the spans that were lost.
    fn note(&mut self, now: Instant, sent: bool, spans: usize) -> Option<usize> {
        if sent {
            let lost = std::mem::take(&mut self.lost);
            return std::mem::take(&mut self.open).then_some(lost);
        }
        self.lost += spans;
        let silent = self.told.is_some_and(|told| now.duration_since(told) < PAUSE);
        (!silent).then(|| {
            self.told = Some(now);
            self.open = true;
            self.lost
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_is_away_is_told_of_now_and_then() {
        let mut trouble = Trouble::default();
        let begin = Instant::now();
        let steps = [
            // Seconds, whether they were sent, how many, what is told.
            (0, true, 5, None),
            (1, false, 5, Some(5)),
            (2, false, 5, None),
            (599, false, 5, None),
            (601, false, 5, Some(20)),
            (602, true, 5, Some(20)),
            (603, true, 5, None),
            // One that comes and goes.
            (604, false, 5, None),
            (605, true, 5, None),
            (1300, false, 1, Some(1)),
        ];
        for (seconds, sent, spans, told) in steps {
            let now = begin + Duration::from_secs(seconds);
            assert_eq!(trouble.note(now, sent, spans), told, "after {seconds} s");
        }
    }
}
