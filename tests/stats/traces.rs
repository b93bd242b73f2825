//! Spans of calls, at a collector.

use std::{collections::BTreeSet, net::TcpListener};

use cri::{GetEventsRequest, ListPodSandboxRequest, RunPodSandboxRequest, StopPodSandboxRequest};
use support::{Collector, Daemon, EngineProxy, Options, Span, eventually};
use tonic::Request;

use super::PATIENCE;

const TRACED: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const UNSAMPLED: &str = "a3ce929d0e0e47364bf92f3577b34da6";
const WATCHED: &str = "00000000000000000000000000000001";
const PARENT: &str = "00f067aa0ba902b7";

/// A call of a caller that is in that trace itself.
fn within<T>(trace: &str, sampled: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{trace}-{PARENT}-{sampled}").parse().unwrap();
    request.metadata_mut().insert("traceparent", parent);
    request
}

fn options(endpoint: &str) -> Options {
    support::daemon!()
        .flag(format!("--tracing-endpoint={endpoint}"))
        .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
}

async fn run_pod(daemon: &Daemon, trace: &str, sampled: &str) -> String {
    let request = RunPodSandboxRequest {
        config: Some(daemon.pod("pod")),
        ..Default::default()
    };
    let answer = daemon
        .runtime()
        .run_pod_sandbox(within(trace, sampled, request))
        .await;
    answer.unwrap().into_inner().pod_sandbox_id
}

/// The span of that name. A call that is repeated because an image was missing has failed spans, too.
fn good<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let good = |span: &&Span| span.name == name && span.error.is_none();
    let found = spans.iter().find(good);
    found.unwrap_or_else(|| panic!("{name}: {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_on_in_calls_to_the_engine_and_in_plugins() {
    let collector = Collector::start().await;
    let proxy = EngineProxy::start();
    let mut daemon = options(&collector.endpoint())
        .engine(proxy.socket())
        .variable("OTEL_SERVICE_NAME", "here")
        .variable("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        .start()
        .await;
    let mut runtime = daemon.runtime();
    // A stream's span ends when the stream begins.
    let events = runtime.get_container_events(within(WATCHED, "01", GetEventsRequest {}));
    let events = events.await.unwrap();
    eventually("the stream's span", PATIENCE, || {
        collector.spans().into_iter().find(|span| span.trace == WATCHED)
    });
    drop(events);

    let sandbox = run_pod(&daemon, TRACED, "01").await;
    let unsampled = StopPodSandboxRequest {
        pod_sandbox_id: sandbox.clone(),
    };
    let unsampled = within(UNSAMPLED, "00", unsampled);
    runtime.stop_pod_sandbox(unsampled).await.unwrap();
    runtime
        .list_pod_sandbox(ListPodSandboxRequest::default())
        .await
        .unwrap();
    assert!(daemon.stop().success());

    let spans = collector.spans();
    let traces: BTreeSet<_> = spans.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(traces, BTreeSet::from([TRACED, WATCHED]), "{spans:#?}");
    let spans: Vec<_> = spans.into_iter().filter(|span| span.trace == TRACED).collect();
    let call = good(&spans, "runtime.v1.RuntimeService/RunPodSandbox");
    assert_eq!(call.parent, PARENT);
    assert_eq!(format!("{:?}", call.kind), "Server");
    for (name, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "runtime.v1.RuntimeService"),
        ("rpc.method", "RunPodSandbox"),
        ("rpc.grpc.status_code", "0"),
        ("pod_sandbox_id", &sandbox),
    ] {
        assert_eq!(call.attributes[name], value);
    }
    for (name, value) in [("service.name", "here"), ("deployment.environment", "test")] {
        assert_eq!(call.resource[name], value);
    }
    for span in spans.iter().filter(|span| span.id != call.id) {
        assert_eq!(span.parent, call.id, "{span:#?}");
    }
    let start = good(&spans, "POST /containers/{id}/start");
    assert_eq!(format!("{:?}", start.kind), "Client");
    assert_eq!(start.attributes["http.request.method"], "POST");
    assert_eq!(start.attributes["http.response.status_code"], "204");
    assert!(
        start.attributes["url.path"].ends_with(&format!("/containers/{sandbox}/start")),
        "{start:#?}"
    );
    good(&spans, "POST /containers/create");
    good(&spans, "GET /containers/{id}/json");
    let plugin = good(&spans, "CNI ADD bridge");
    assert_eq!(plugin.attributes["cni.container_id"], sandbox);
    assert_eq!(plugin.attributes["cni.ifname"], "eth0");

    // The Engine is told: to continue what is traced, and to leave out what its caller leaves out.
    let told: BTreeSet<_> = proxy
        .calls()
        .0
        .into_iter()
        .filter_map(|call| call.traceparent)
        .collect();
    let clients = spans
        .iter()
        .filter(|span| span.attributes.contains_key("url.path"));
    let of_spans: BTreeSet<_> = clients
        .map(|span| format!("00-{TRACED}-{}-01", span.id))
        .collect();
    let (traced, others): (BTreeSet<_>, BTreeSet<_>) =
        told.into_iter().partition(|told| told.contains(TRACED));
    assert_eq!(traced, of_spans);
    let left_out = |told: &String| told.starts_with(&format!("00-{UNSAMPLED}-")) && told.ends_with("-00");
    assert!(!others.is_empty() && others.iter().all(left_out), "{others:?}");

    // Messages of the call have its names.
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("sandbox runs")).unwrap();
    for field in [
        "rpc=RunPodSandbox".to_owned(),
        format!("trace_id={TRACED}"),
        format!("pod_sandbox_id={sandbox}"),
    ] {
        assert!(line.contains(&field), "{field}: {line}");
    }
    assert!(!log.contains(UNSAMPLED), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_trace_begin_one_and_nothing_else_does() {
    let collector = Collector::start().await;
    let mut daemon = options(&collector.endpoint())
        .flag("--tracing-sampling-rate-per-million=1000000")
        .start()
        .await;
    let sandbox = daemon.run_pod(&daemon.pod("pod")).await;
    daemon.sandbox_status(&sandbox).await;
    let absent = StopPodSandboxRequest {
        pod_sandbox_id: String::new(),
    };
    daemon.runtime().stop_pod_sandbox(absent).await.unwrap_err();
    assert!(daemon.stop().success());
    let spans = collector.spans();
    let calls: Vec<_> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    let names: Vec<_> = calls.iter().map(|span| span.name.as_str()).collect();
    let rpcs = ["RunPodSandbox", "PodSandboxStatus", "StopPodSandbox"];
    assert_eq!(
        names,
        rpcs.map(|rpc| format!("runtime.v1.RuntimeService/{rpc}")),
        "what dockside does of its own accord is in no trace: {spans:#?}"
    );
    // The caller's own fault is not the server's.
    assert_eq!(calls[2].attributes["rpc.grpc.status_code"], "3");
    assert_eq!(calls[2].error, None);
    let ids: BTreeSet<_> = calls.iter().map(|span| &span.id).collect();
    for span in spans.iter().filter(|span| !span.parent.is_empty()) {
        assert!(ids.contains(&span.parent), "{span:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_do_not_wait_for_a_collector() {
    // One where nobody listens, and one that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [nobody, silent.local_addr().unwrap()] {
        let mut daemon = options(&address.to_string())
            .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")
            .start()
            .await;
        let sandbox = run_pod(&daemon, TRACED, "01").await;
        let complaints = |daemon: &Daemon| daemon.log().matches("cannot send spans").count();
        eventually("a complaint", PATIENCE, || {
            (complaints(&daemon) > 0).then_some(())
        });
        daemon.sandbox_status(&sandbox).await;
        let stop = StopPodSandboxRequest {
            pod_sandbox_id: sandbox,
        };
        daemon
            .runtime()
            .stop_pod_sandbox(within(TRACED, "01", stop))
            .await
            .unwrap();
        assert!(daemon.stop().success());
        assert_eq!(complaints(&daemon), 1, "{}", daemon.log());
    }
}
