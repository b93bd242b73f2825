//! Spans: what belongs to a call, for the log and for a collector of traces.
//!
//! A call has two. One of `tracing` lends its fields to every message of the call. One of OpenTelemetry, only where spans are
//! exported, continues its caller's trace; calls to the Engine and runs of CNI plugins are its children. They are apart
//! because neither has what the other needs: a log no kinds of spans, a trace no message's fields.
//!
//! As with metrics, whoever does something says so here. What dockside does of its own accord is in no trace.

mod export;
mod headers;

use std::{fmt, path::Path, sync::OnceLock};

use futures_util::future::Either;
use hyper::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt,
    propagation::TextMapPropagator,
    trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span},
};
use tonic::Code;
use tracing::{Instrument, field::Empty};

pub use export::{Exporter, Unusable};
use headers::{Read, Write};

/// Makes spans for export. Not there unless they are.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// A CRI call.
#[derive(Debug)]
pub struct Call {
    log: tracing::Span,
    trace: Option<Context>,
}

impl Call {
    /// A call of the RPC of that name, at that path, continues the trace that its headers name.
    pub fn begin(rpc: &'static str, path: &str, headers: &HeaderMap) -> Self {
        let log = log_span(rpc);
        let tracer = TRACER.get();
        if tracer.is_none() && log.is_disabled() {
            return Self { log, trace: None };
        }
        let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &Read(headers));
        let trace = tracer.map(|tracer| {
            let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
            // Names come from a fixed list, whatever a caller makes up.
            let name = if method == rpc {
                format!("{service}/{rpc}")
            } else {
                rpc.into()
            };
            let span = tracer
                .span_builder(name)
                .with_kind(SpanKind::Server)
                .with_attributes([
                    KeyValue::new("rpc.system", "grpc"),
                    KeyValue::new("rpc.service", service.to_owned()),
                    KeyValue::new("rpc.method", method.to_owned()),
                ])
                .start_with_context(tracer, &caller);
            caller.with_span(span)
        });
        let span = trace.as_ref().unwrap_or(&caller).span();
        if span.span_context().is_sampled() {
            let id = span.span_context().trace_id();
            log.record("trace_id", tracing::field::display(id));
        }
        Self { log, trace }
    }

    /// Has `work` belong to the call.
    pub fn run<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let work = work.instrument(self.log.clone());
        match &self.trace {
            Some(trace) => Either::Left(work.with_context(trace.clone())),
            None => Either::Right(work),
        }
    }

    /// The call is answered. Work of it that goes on stays in its trace.
    pub fn end(&self, code: Code, message: &str) {
        if let Some(trace) = &self.trace {
            let span = trace.span();
            span.set_attribute(KeyValue::new("rpc.grpc.status_code", code as i64));
            if is_fault(code) {
                span.set_status(Status::error(message.to_owned()));
            }
            span.end();
        }
    }
}

/// Whether a call has failed by a fault of the server's, as OpenTelemetry counts them, and not of its caller's.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The span of a call for the log.
fn log_span(rpc: &'static str) -> tracing::Span {
    /// The fields are the same in both.
    macro_rules! span {
        ($new:ident) => {
            tracing::$new!(
                "rpc",
                rpc,
                pod_sandbox_id = Empty,
                container_id = Empty,
                trace_id = Empty
            )
        };
    }
    // A span's level is the least talkative one that has it. Work is to be found at each of them; reads, which the
    // kubelet makes all the time, are not to cost anything unless somebody looks into them.
    if is_read(rpc) {
        span!(debug_span)
    } else {
        span!(error_span)
    }
}

fn is_read(rpc: &str) -> bool {
    ["List", "Stream"].iter().any(|start| rpc.starts_with(start))
        || ["Status", "Stats"].iter().any(|end| rpc.ends_with(end))
        || matches!(
            rpc,
            "GetContainerEvents" | "ImageFsInfo" | "RuntimeConfig" | "Version"
        )
}

/// The call under way is about the object of this id; `field` is `pod_sandbox_id` or `container_id`, as CRI says.
pub fn about(field: &'static str, id: &str) {
    tracing::Span::current().record(field, id);
    if TRACER.get().is_some() {
        let attribute = || KeyValue::new(field, id.to_owned());
        Context::map_current(|context| context.span().set_attribute(attribute()));
    }
}

/// Keeps work in the call under way that goes on in another task.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    work.in_current_span().with_current_context()
}

/// A piece of a call's work. Dropped before its end, it was given up.
#[derive(Debug)]
#[must_use]
pub struct Work(Option<Span>);

impl Work {
    fn begin(
        name: impl FnOnce() -> String,
        kind: SpanKind,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self(None);
        };
        let call = Context::current();
        if !call.has_active_span() {
            return Self(None);
        }
        let span = tracer
            .span_builder(name())
            .with_kind(kind)
            .with_attributes(attributes());
        Self(Some(span.start_with_context(tracer, &call)))
    }

    /// Has whoever gets these headers continue the trace.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if let Some(span) = &self.0 {
            let context = Context::new().with_remote_span_context(span.span_context().clone());
            TraceContextPropagator::new().inject_context(&context, &mut Write(headers));
        }
    }

    /// The Engine has answered with this HTTP status, or not at all.
    pub fn answered(mut self, status: Option<u16>) {
        let outcome = match status {
            Some(status) => {
                if let Some(span) = &mut self.0 {
                    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
                }
                if status < 400 {
                    Status::Unset
                } else {
                    Status::error("")
                }
            }
            None => Status::error("no answer"),
        };
        self.end(outcome);
    }

    /// The plugin has ended.
    pub fn ran<T, E: fmt::Display>(self, result: &Result<T, E>) {
        self.end(match result {
            Ok(_) => Status::Unset,
            Err(error) => Status::error(error.to_string()),
        });
    }

    fn end(mut self, status: Status) {
        if let Some(mut span) = self.0.take() {
            span.set_status(status);
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error("given up"));
        }
    }
}

/// A call to the Engine at `socket`: `call` is its method and the template of its path.
pub fn engine(call: &'static str, method: &str, path: &str, socket: &Path) -> Work {
    let name = || match call {
        "other" => method.to_owned(),
        call => call.to_owned(),
    };
    Work::begin(name, SpanKind::Client, || {
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("server.address", socket.display().to_string()),
            KeyValue::new("network.transport", "unix"),
        ];
        attributes.extend(
            call.split_once(' ')
                .map(|(_, template)| KeyValue::new("url.template", template)),
        );
        attributes
    })
}

/// A run of a CNI plugin with this environment.
pub fn cni(plugin: &str, environment: &[(&'static str, String)]) -> Work {
    let value = |name| {
        let found = environment.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let name = || format!("CNI {} {plugin}", value("CNI_COMMAND"));
    Work::begin(name, SpanKind::Internal, || {
        vec![
            KeyValue::new("cni.command", value("CNI_COMMAND")),
            KeyValue::new("cni.plugin", plugin.to_owned()),
            KeyValue::new("cni.container_id", value("CNI_CONTAINERID")),
            KeyValue::new("cni.ifname", value("CNI_IFNAME")),
        ]
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_told_from_work() {
        for rpc in [
            "ListContainers",
            "PodSandboxStatus",
            "ContainerStats",
            "Version",
            "Status",
        ] {
            assert!(is_read(rpc), "{rpc}");
        }
        for rpc in ["RunPodSandbox", "ExecSync", "PullImage", "UpdateRuntimeConfig"] {
            assert!(!is_read(rpc), "{rpc}");
        }
    }

    #[test]
    fn nothing_is_traced_unless_it_is_exported() {
        let mut headers = HeaderMap::new();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert("traceparent", parent.parse().unwrap());
        for rpc in ["ListContainers", "RunPodSandbox"] {
            let call = Call::begin(rpc, &format!("/runtime.v1.RuntimeService/{rpc}"), &headers);
            assert!(call.log.is_disabled() && call.trace.is_none(), "{rpc}");
        }
        let work = engine("GET /info", "GET", "/info", Path::new("/run/docker.sock"));
        assert!(work.0.is_none());
        let mut headers = HeaderMap::new();
        work.tell(&mut headers);
        assert!(headers.is_empty());
        work.answered(Some(200));
    }
}
