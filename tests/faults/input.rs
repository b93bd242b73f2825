//! Requests that make no sense.

use cri::PodSandboxStatusRequest;
use support::{Daemon, container_of};
use tonic::Code;

use super::raw::{call, rpcs};

fn method(rpc: &str) -> &str {
    rpc.rsplit('/').next().unwrap()
}

async fn lives(daemon: &Daemon) {
    let answer = daemon.runtime().version(cri::VersionRequest::default()).await;
    answer.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_messages_are_answered() {
    let daemon = support::daemon!().start().await;
    for rpc in rpcs() {
        let answer = call(&daemon, &rpc, b"").await;
        let code = answer.as_ref().map_or_else(tonic::Status::code, |_| Code::Ok);
        let expected: &[Code] = match method(&rpc) {
            "Version" | "Status" | "RuntimeConfig" | "UpdateRuntimeConfig" => &[Code::Ok],
            "ListPodSandbox" | "ListContainers" | "ListImages" | "ImageFsInfo" => &[Code::Ok],
            "ExecSync" | "RunPodSandbox" | "CreateContainer" | "PullImage" | "RemoveImage" => {
                &[Code::InvalidArgument]
            }
            name if name.ends_with("Container") || name.ends_with("PodSandbox") => {
                &[Code::InvalidArgument, Code::Unimplemented]
            }
            "PodSandboxStatus" | "ContainerStatus" | "ImageStatus" | "UpdateContainerResources" => {
                &[Code::InvalidArgument]
            }
            // Those to come may be asked for everything, or refuse.
            _ => &[Code::Ok, Code::InvalidArgument, Code::Unimplemented],
        };
        assert!(expected.contains(&code), "{rpc}: {answer:?}");
    }
    lives(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused() {
    let daemon = support::daemon!().start().await;
    let garbage: [&[u8]; 4] = [
        b"\xff",
        b"\x0a\xff\xff\xff\xff\x0f",
        &[0x0a; 1000],
        b"\x0a\x02\xff\xfe",
    ];
    for rpc in rpcs() {
        for bytes in garbage {
            let answer = call(&daemon, &rpc, bytes).await;
            // An empty request has unknown fields then, which are for newer versions to know.
            if let Err(error) = answer {
                assert_ne!(error.code(), Code::Unavailable, "{rpc}: {error}");
                assert!(!error.message().contains("panic"), "{rpc}: {error}");
            }
        }
    }
    lives(&daemon).await;
    assert!(!daemon.log().contains("panicked"));
}

/// Field 1 is the id in every message here.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_absurd_ids_have_the_codes_that_callers_branch_on() {
    let daemon = support::daemon!().start().await;
    let long = "a".repeat(100_000);
    let ids = [
        "0".repeat(64),
        "0123".into(),
        "../../../etc/passwd".into(),
        "a/b?c=d&e#f".into(),
        "%2e%2e%2f".into(),
        "x\r\nHost: y".into(),
        "é\u{0}".into(),
        " ".into(),
        long,
    ];
    for id in ids {
        let mut message = vec![0x0a];
        let mut length = id.len();
        while length > 0x7f {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(id.as_bytes());
        let shown: String = id.chars().take(30).collect();
        for (name, expected) in [
            ("StopPodSandbox", Code::Ok),
            ("RemovePodSandbox", Code::Ok),
            ("StopContainer", Code::Ok),
            ("RemoveContainer", Code::Ok),
            ("PodSandboxStatus", Code::NotFound),
            ("ContainerStatus", Code::NotFound),
            ("StartContainer", Code::NotFound),
            ("UpdateContainerResources", Code::NotFound),
            ("UpdatePodSandboxResources", Code::NotFound),
            ("ReopenContainerLog", Code::NotFound),
            ("ContainerStats", Code::NotFound),
            ("PodSandboxStats", Code::NotFound),
            ("PortForward", Code::NotFound),
        ] {
            let answer = call(&daemon, &format!("/runtime.v1.RuntimeService/{name}"), &message).await;
            let code = answer.as_ref().map_or_else(tonic::Status::code, |_| Code::Ok);
            assert_eq!(code, expected, "{name} {shown:?}: {answer:?}");
            let text = answer
                .err()
                .map(|error| error.message().to_owned())
                .unwrap_or_default();
            assert!(
                text.len() < 5000,
                "{name} {shown:?}: a message of {} bytes",
                text.len()
            );
        }
        // What else is needed is given, so that it is the id that is at fault.
        let mut runtime = daemon.runtime();
        let exec = cri::ExecSyncRequest {
            container_id: id.clone(),
            cmd: vec!["true".into()],
            timeout: 1,
        };
        assert_eq!(
            runtime.exec_sync(exec).await.unwrap_err().code(),
            Code::NotFound,
            "ExecSync {shown:?}"
        );
        let pod = daemon.pod("none");
        let config = container_of(&pod, "main", "busybox", &["true"]);
        let error = daemon.try_create(&id, &pod, &config).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "CreateContainer {shown:?}: {error}");
        let filter = cri::ContainerFilter {
            id: id.clone(),
            pod_sandbox_id: id.clone(),
            ..Default::default()
        };
        let request = cri::ListContainersRequest { filter: Some(filter) };
        let listed = runtime.list_containers(request).await.unwrap().into_inner();
        assert_eq!(listed.containers, [], "{shown:?}");
        let filter = cri::PodSandboxFilter {
            id,
            ..Default::default()
        };
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        assert_eq!(
            runtime
                .list_pod_sandbox(request)
                .await
                .unwrap()
                .into_inner()
                .items,
            [],
            "{shown:?}"
        );
    }
    lives(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_values_are_refused_by_the_name_of_their_field() {
    let daemon = support::daemon!().start().await;
    let pod = daemon.pod("sane");
    let sandbox = daemon.run_pod(&pod).await;
    let image = daemon.pull("busybox:1").await;
    let config = container_of(&pod, "main", &image, &["sleep", "1000"]);
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let mut runtime = daemon.runtime();
    for timeout in [-1, i64::MIN] {
        let request = cri::StopContainerRequest {
            container_id: id.clone(),
            timeout,
        };
        let error = runtime.stop_container(request).await.unwrap_err();
        assert!(
            error.code() == Code::InvalidArgument && error.message().contains("timeout"),
            "{error}"
        );
        let error = daemon.exec(&id, &["true"], timeout).await.unwrap_err();
        assert!(
            error.code() == Code::InvalidArgument && error.message().contains("timeout"),
            "{error}"
        );
    }
    // Centuries are as good as no limit.
    assert_eq!(daemon.exec(&id, &["true"], i64::MAX).await.unwrap().exit_code, 0);
    let mut bad = daemon.pod("bad");
    bad.port_mappings = vec![cri::PortMapping {
        protocol: 77,
        container_port: -5,
        host_port: 99_999,
        host_ip: "nowhere".into(),
    }];
    let request = cri::RunPodSandboxRequest {
        config: Some(bad),
        ..Default::default()
    };
    let error = runtime.run_pod_sandbox(request).await.unwrap_err();
    assert!(
        error.code() == Code::InvalidArgument && error.message().contains("port_mappings"),
        "{error}"
    );
    let mut nameless = daemon.pod("bad");
    nameless.metadata = None;
    let request = cri::RunPodSandboxRequest {
        config: Some(nameless),
        ..Default::default()
    };
    let error = runtime.run_pod_sandbox(request).await.unwrap_err();
    assert!(
        error.code() == Code::InvalidArgument && error.message().contains("metadata"),
        "{error}"
    );
    assert_eq!(crate::traces::Traces::of(&daemon).containers.len(), 2);
    lives(&daemon).await;
}

/// CRI allows messages of 16 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_huge_request_is_taken() {
    let daemon = support::daemon!().start().await;
    let mut pod = daemon.pod("huge");
    pod.labels
        .extend((0..10).map(|n| (format!("label{n}"), "x".repeat(1 << 20))));
    let sandbox = daemon.run_pod(&pod).await;
    let request = PodSandboxStatusRequest {
        pod_sandbox_id: sandbox.clone(),
        verbose: false,
    };
    let status = daemon
        .runtime()
        .pod_sandbox_status(request)
        .await
        .unwrap()
        .into_inner()
        .status
        .unwrap();
    assert_eq!(status.labels, pod.labels);
    let request = cri::RemovePodSandboxRequest {
        pod_sandbox_id: sandbox,
    };
    daemon.runtime().remove_pod_sandbox(request).await.unwrap();
    // One that is too long is refused, and the connection goes on.
    let error = call(
        &daemon,
        "/runtime.v1.RuntimeService/RunPodSandbox",
        &vec![0; 17 << 20],
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{error}"
    );
    lives(&daemon).await;
}
