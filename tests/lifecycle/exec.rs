//! ExecSync.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use support::{Action, EngineProxy, Rule, container_of};
use tonic::Code;

use super::{Node, stop};

/// How long anything may take that does not wait for hours.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many processes of the container have this in their command lines.
async fn processes(node: &Node, id: &str, part: &str) -> usize {
    // The pattern does not match itself.
    let script = format!("ps -o args | grep -c '[{}]{}' || true", &part[..1], &part[1..]);
    node.daemon.sh(id, &script).await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn output_and_codes_are_exact() {
    let node = Node::new().await;
    let id = node.asleep(|_| {}).await;
    let script = r"printf 'out\000\377\n'; printf 'err\r\n' >&2; exit 7";
    let answer = node.daemon.exec(&id, &["sh", "-c", script], 5).await.unwrap();
    assert_eq!(answer.stdout, b"out\0\xff\n");
    assert_eq!(answer.stderr, b"err\r\n");
    assert_eq!(answer.exit_code, 7);
    // By the beginning of the id; nothing on stdin.
    let answer = node.daemon.exec(&id[..12], &["cat"], 5).await.unwrap();
    assert_eq!((answer.stdout.len(), answer.exit_code), (0, 0));
    let answer = node
        .daemon
        .exec(&id, &["sh", "-c", "kill -9 $$"], 5)
        .await
        .unwrap();
    assert_eq!(answer.exit_code, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_beyond_a_message_is_cut_off() {
    let node = Node::new().await;
    let id = node.asleep(|_| {}).await;
    let script = "head -c 12000000 /dev/zero; head -c 12000000 /dev/zero >&2; exit 3";
    let answer = node.daemon.exec(&id, &["sh", "-c", script], 0).await.unwrap();
    assert_eq!(answer.exit_code, 3);
    let length = answer.stdout.len() + answer.stderr.len();
    assert!((15 << 20..16 << 20).contains(&length), "{length}");
    assert_eq!(answer.stdout.len(), 12_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_kills_everything_that_was_started() {
    let node = Node::new().await;
    let id = node.asleep(|_| {}).await;
    for (name, script) in [
        ("itself", "exec sleep 7101"),
        ("child", "sleep 7101; true"),
        ("in the background", "sleep 7101 & sleep 7101 & wait"),
        ("deaf", "trap '' TERM HUP INT; sleep 7101; sleep 7101"),
        ("in a session of its own", "setsid sleep 7101 & sleep 7101; true"),
        ("given away", "(sleep 7101 &) ; sleep 7101; true"),
    ] {
        let began = Instant::now();
        let status = node.daemon.exec(&id, &["sh", "-c", script], 1).await.unwrap_err();
        let took = began.elapsed();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{name}: {status}");
        assert!(took >= Duration::from_secs(1), "{name}: {took:?}");
        assert_eq!(processes(&node, &id, "sleep 7101").await, 0, "{name}");
    }
    // The container itself goes on.
    assert_eq!(node.daemon.sh(&id, "echo alive").await, "alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_ends_the_command() {
    let node = Node::new().await;
    let id = node.asleep(|_| {}).await;
    let command = ["sh", "-c", "sleep 7202; true"];
    let runs = async |wanted: bool| {
        let began = Instant::now();
        while (processes(&node, &id, "sleep 7202").await > 0) != wanted {
            assert!(began.elapsed() < PATIENCE, "that it runs is not {wanted}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        answer = node.daemon.exec(&id, &command, 0) => panic!("it would last for hours: {answer:?}"),
        () = runs(true) => {}
    }
    runs(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_in_the_background_does_not_hold_the_answer() {
    let node = Node::new().await;
    let id = node.asleep(|_| {}).await;
    let command = ["sh", "-c", "echo done; sleep 7303 &"];
    let answer = tokio::time::timeout(PATIENCE, node.daemon.exec(&id, &command, 0)).await;
    let answer = answer.expect("an answer before the child ends").unwrap();
    assert_eq!((&*answer.stdout, answer.exit_code), (&b"done\n"[..], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_there_is_told() {
    let node = Node::new().await;
    let id = node.asleep(|_| {}).await;
    // The Engine reports it as an exit code, with the reason in the output, or as an error of its own.
    match node.daemon.exec(&id, &["/no/such/program"], 5).await {
        Ok(answer) => {
            let output = [answer.stdout, answer.stderr].concat();
            let output = String::from_utf8_lossy(&output).into_owned();
            assert!([126, 127].contains(&answer.exit_code), "{}", answer.exit_code);
            assert!(output.contains("/no/such/program"), "{output}");
        }
        Err(status) => assert!(status.message().contains("/no/such/program"), "{status}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_run_cannot_run_a_command() {
    let node = Node::new().await;
    let id = node
        .daemon
        .create(&node.sandbox, &node.pod, &node.config("late", super::SLEEP))
        .await;
    let code = async |id: &str, command: &[&str], timeout| {
        node.daemon.exec(id, command, timeout).await.unwrap_err().code()
    };
    assert_eq!(code(&id, &["true"], 5).await, Code::FailedPrecondition, "created");
    node.daemon.start_container(&id).await;
    stop(&node.daemon, &id, 5).await;
    assert_eq!(code(&id, &["true"], 5).await, Code::FailedPrecondition, "stopped");
    assert_eq!(code("feedfeedfeed", &["true"], 5).await, Code::NotFound);
    assert_eq!(
        code(&node.sandbox, &["true"], 5).await,
        Code::NotFound,
        "a sandbox is no container"
    );
    assert_eq!(code(&id, &[], 5).await, Code::InvalidArgument);
    assert_eq!(code(&id, &["true"], -1).await, Code::InvalidArgument);
}

/// The Engine tells a command's process for as long as it knows the command.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_got_the_commands_number_is_left_alone() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("pod");
    let sandbox = daemon.run_pod(&pod).await;
    let id = daemon
        .run_container(&sandbox, &pod, &container_of(&pod, "main", &image, super::SLEEP))
        .await;
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    for state in [
        json!({ "Running": true, "ExitCode": null, "Pid": stranger.id() }),
        json!({ "Running": false, "ExitCode": 0, "Pid": stranger.id() }),
    ] {
        let told = Rule::on("GET", "/exec/{id}/json", Action::Answer(200, state));
        proxy.rule(told);
        let status = daemon.exec(&id, &["sleep", "7505"], 1).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        proxy.clear_rules();
    }
    let ended = stranger.try_wait().unwrap();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(ended.is_none(), "{ended:?}");
}
