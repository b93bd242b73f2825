//! Counts calls, and ends their spans.

use std::{convert::Infallible, time::Instant};

use tonic::{Code, Status, body::Body, codegen::http::Response};

use crate::{metrics, trace};

/// Every call of CRI's, so that whatever a client makes up is counted as one.
const RPCS: [&str; 43] = [
    "Attach",
    "CheckpointContainer",
    "CheckpointPod",
    "ContainerStats",
    "ContainerStatus",
    "CreateContainer",
    "Exec",
    "ExecSync",
    "GetContainerEvents",
    "ImageFsInfo",
    "ImageStatus",
    "ListContainerStats",
    "ListContainers",
    "ListImages",
    "ListMetricDescriptors",
    "ListPodSandbox",
    "ListPodSandboxMetrics",
    "ListPodSandboxStats",
    "PodSandboxStats",
    "PodSandboxStatus",
    "PortForward",
    "PullImage",
    "RemoveContainer",
    "RemoveImage",
    "RemovePodSandbox",
    "ReopenContainerLog",
    "RestorePod",
    "RunPodSandbox",
    "RuntimeConfig",
    "StartContainer",
    "Status",
    "StopContainer",
    "StopPodSandbox",
    "StreamContainerStats",
    "StreamContainers",
    "StreamImages",
    "StreamPodSandboxMetrics",
    "StreamPodSandboxStats",
    "StreamPodSandboxes",
    "UpdateContainerResources",
    "UpdatePodSandboxResources",
    "UpdateRuntimeConfig",
    "Version",
];

/// Has `answer` counted and timed, to the head of the answer. A call that is dropped was given up by its caller.
pub(super) async fn metered(
    rpc: &'static str,
    span: trace::Call,
    answer: impl Future<Output = Result<Response<Body>, Infallible>>,
) -> Result<Response<Body>, Infallible> {
    let work = span.run(answer);
    let mut call = Call {
        rpc,
        span,
        began: Instant::now(),
        ended: Some(Status::cancelled("given up by its caller")),
    };
    let answered = work.await;
    if let Ok(response) = &answered {
        // An error without an answer is in the head, the end of an answer behind it.
        call.ended = Status::from_header_map(response.headers());
    }
    answered
}

struct Call {
    rpc: &'static str,
    span: trace::Call,
    began: Instant,
    /// Its error, if it has one.
    ended: Option<Status>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let grpc = self.ended.as_ref().map_or(Code::Ok, Status::code);
        metrics::rpc(self.rpc, code(grpc), self.began.elapsed());
        self.span
            .end(grpc, self.ended.as_ref().map(Status::message).unwrap_or_default());
    }
}

/// The call that a request's path names, for [`metered`].
pub(super) fn name(path: &str) -> &'static str {
    let last = path.rsplit('/').next().unwrap_or_default();
    RPCS.iter().find(|rpc| **rpc == last).map_or("other", |rpc| rpc)
}

/// As gRPC's documents write them.
const fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_contract_has_a_name() {
        let mut rpcs: Vec<_> = cri::WIRE_TABLE
            .lines()
            .filter_map(|row| row.strip_prefix("rpc\t"))
            .filter_map(|row| row.split('\t').nth(1))
            .collect();
        rpcs.sort_unstable();
        assert_eq!(rpcs, RPCS);
        assert_eq!(name("/runtime.v1.RuntimeService/Version"), "Version");
        assert_eq!(name("/runtime.v1.RuntimeService/Made-up"), "other");
        assert_eq!(name(""), "other");
    }
}
