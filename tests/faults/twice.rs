//! Two of what there may be one of.

use std::{
    path::Path,
    process::{Command, Output},
};

use support::{Daemon, Env};
use tonic::Code;

/// Starts a second program, which must end by itself.
fn second(daemon: &Daemon, socket: &Path, root: &Path) -> Output {
    Command::new("timeout")
        .arg("20")
        .arg(env!("CARGO_BIN_EXE_dockside"))
        .arg(format!(
            "--container-runtime-endpoint=unix://{}",
            socket.display()
        ))
        .arg(format!(
            "--docker-endpoint=unix://{}",
            Env::get().engine.display()
        ))
        .arg(format!("--root-directory={}", root.display()))
        .arg(format!("--cni-conf-dir={}", daemon.dir().join("cni").display()))
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_says_what_the_first_has() {
    let daemon = support::daemon!().start().await;
    let (socket, root) = (daemon.socket(), daemon.dir().join("root"));
    let plain = daemon.dir().join("plain");
    std::fs::write(&plain, "somebody's").unwrap();
    let cases = [
        (daemon.dir().join("2.sock"), root.clone(), &root),
        (socket.clone(), daemon.dir().join("root2"), &socket),
        // A file that is no socket is not taken away.
        (plain.clone(), daemon.dir().join("root3"), &plain),
    ];
    for (socket, root, named) in cases {
        let output = second(&daemon, &socket, &root);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(named.to_str().unwrap()), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    assert_eq!(std::fs::read_to_string(plain).unwrap(), "somebody's");
    let answer = daemon.runtime().version(cri::VersionRequest::default()).await;
    assert_eq!(answer.unwrap().into_inner().runtime_name, "docker");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_calls_for_one_sandbox_one_makes_it() {
    let daemon = support::daemon!().start().await;
    let pod = daemon.pod("contended");
    let run = || async {
        let request = cri::RunPodSandboxRequest {
            config: Some(pod.clone()),
            ..Default::default()
        };
        daemon.runtime().run_pod_sandbox(request).await
    };
    let answers = futures_util::future::join_all((0..6).map(|_| run())).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for error in refused {
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists, "{error}");
    }
    let traces = crate::traces::Traces::of(&daemon);
    assert_eq!(
        [
            traces.containers.len(),
            traces.pins.len(),
            traces.leases.len(),
            traces.veths.len()
        ],
        [1; 4]
    );
    let sandbox = made
        .into_iter()
        .next()
        .unwrap()
        .unwrap()
        .into_inner()
        .pod_sandbox_id;
    let remove = || async {
        let request = cri::RemovePodSandboxRequest {
            pod_sandbox_id: sandbox.clone(),
        };
        daemon.runtime().remove_pod_sandbox(request).await.unwrap();
    };
    futures_util::future::join_all((0..6).map(|_| remove())).await;
    crate::traces::no_traces(&daemon);
}
