use std::time::{Duration, Instant};

use cri::ExecRequest;
use tokio::time::sleep;
use tonic::Code;

use super::{
    Node,
    client::{Client, PATIENCE, RESIZE, STDIN, STDOUT},
};

#[tokio::test(flavor = "multi_thread")]
async fn input_output_and_codes_are_exact() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let script = r"cat; printf 'err\000\n' >&2; exit 7";
    let all = |request: &mut ExecRequest| {
        request.stdin = true;
        request.stderr = true;
    };
    let mut client = Client::open(&node.exec(&id, script, all).await, "v5.channel.k8s.io").await;
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    for piece in sent.chunks(10_000) {
        client.send(STDIN, piece).await;
    }
    client.end(STDIN).await;
    let ended = client.ended().await;
    assert_eq!(ended.stdout.len(), sent.len());
    assert_eq!(ended.stdout, sent);
    assert_eq!(ended.stderr, b"err\0\n");
    assert_eq!(ended.code(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_command() {
    let node = Node::new().await;
    let id = node.asleep().await;
    // Though the client's input is open still.
    let stdin = |request: &mut ExecRequest| request.stdin = true;
    let client = Client::open(&node.exec(&id, "echo hello", stdin).await, "v4.channel.k8s.io").await;
    let ended = client.ended().await;
    assert_eq!((ended.text().as_str(), ended.code()), ("hello\n", 0));
    // Though a child of it holds its output.
    let url = node.exec(&id, "sleep 7404 & echo left; exit 3", |_| {}).await;
    let ended = Client::open(&url, "v4.channel.k8s.io").await.ended().await;
    assert_eq!((ended.text().as_str(), ended.code()), ("left\n", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_the_clients_size() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let tty = |request: &mut ExecRequest| {
        request.stdin = true;
        request.tty = true;
    };
    let mut client = Client::open(&node.exec(&id, "exec sh", tty).await, "v4.channel.k8s.io").await;
    // What is expected is not in the terminal's echo of what is typed.
    client.send(RESIZE, r#"{"Width":123,"Height":45}"#).await;
    let until =
        |size| format!("until [ \"$(stty size)\" = '{size}' ]; do sleep 0.1; done; echo it is $((6*7))\n");
    client.send(STDIN, until("45 123")).await;
    client.expect(STDOUT, "it is 42").await;
    client.send(RESIZE, r#"{"Width":99,"Height":11}"#).await;
    // ctrl-p is no prefix of anything.
    client.send(STDIN, "\u{10}").await;
    client.send(STDIN, format!("\u{15}{}", until("11 99"))).await;
    client.expect(STDOUT, "it is 42").await;
    client.send(STDIN, "exit 5\n").await;
    assert_eq!(client.ended().await.code(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_there_is_an_error_and_no_output() {
    let node = Node::new().await;
    let id = node.asleep().await;
    for tty in [false, true] {
        let url = node
            .exec(&id, "", |request| {
                request.cmd = vec!["/no/such/program".into()];
                request.tty = tty;
            })
            .await;
        let ended = Client::open(&url, "v4.channel.k8s.io").await.ended().await;
        let status = ended.status();
        assert_eq!(status["reason"], "InternalError", "{status}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains("/no/such/program"), "{message}");
        assert_eq!(ended.text(), "");
    }
    // A command of its own that ends so is not.
    let url = node.exec(&id, "echo OCI runtime exec; exit 126", |_| {}).await;
    let ended = Client::open(&url, "v4.channel.k8s.io").await.ended().await;
    assert_eq!((ended.text().as_str(), ended.code()), ("OCI runtime exec\n", 126));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_holds_the_command_not_the_memory() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let before = node.memory();
    let script = "head -c 100000000 /dev/zero; touch /tmp/written";
    let mut client = Client::open(&node.exec(&id, script, |_| {}).await, "v4.channel.k8s.io").await;
    let (_, first) = client.receive().await.unwrap();
    // Time enough to write everything, were it not held.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(node.daemon.sh(&id, "ls /tmp/written || true").await, "");
    let grown = node.memory().saturating_sub(before);
    assert!(grown < 10_000, "{grown} kB more");
    let ended = client.ended().await;
    assert_eq!((first.len() + ended.stdout.len(), ended.code()), (100_000_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_leaves_nothing_open() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let stdin = |request: &mut ExecRequest| request.stdin = true;
    // The first ones open connections to the Engine that stay.
    for _ in 0..3 {
        let url = node.exec(&id, "echo hello", stdin).await;
        Client::open(&url, "v4.channel.k8s.io").await.ended().await;
    }
    let before = node.files();
    for round in 0..30 {
        let url = node
            .exec(&id, "echo up; cat; echo end >> /tmp/ended", stdin)
            .await;
        let mut client = Client::open(&url, "v4.channel.k8s.io").await;
        if round % 3 != 0 {
            client.expect(STDOUT, "up").await;
        }
        drop(client);
    }
    let began = Instant::now();
    // The commands' input has ended; they themselves were not killed.
    while node
        .daemon
        .sh(&id, "wc -l < /tmp/ended")
        .await
        .parse::<u32>()
        .unwrap_or(0)
        < 20
    {
        assert!(began.elapsed() < PATIENCE, "input does not end");
        sleep(Duration::from_millis(50)).await;
    }
    while node.files() > before + 2 {
        assert!(
            began.elapsed() < PATIENCE,
            "{} files are open, {before} were",
            node.files()
        );
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_at_once() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let created = node
        .daemon
        .create(
            &node.sandbox,
            &node.pod,
            &support::container_of(&node.pod, "late", &node.image, super::SLEEP),
        )
        .await;
    let good = ExecRequest {
        container_id: id.clone(),
        cmd: vec!["true".into()],
        stdout: true,
        ..Default::default()
    };
    let code = async |change: &dyn Fn(&mut ExecRequest)| {
        let mut request = good.clone();
        change(&mut request);
        node.try_exec(request).await.unwrap_err().code()
    };
    assert_eq!(code(&|r| r.container_id.clear()).await, Code::InvalidArgument);
    assert_eq!(code(&|r| r.cmd.clear()).await, Code::InvalidArgument);
    assert_eq!(code(&|r| r.stdout = false).await, Code::InvalidArgument);
    let both = |r: &mut ExecRequest| (r.tty, r.stderr) = (true, true);
    assert_eq!(code(&both).await, Code::InvalidArgument);
    assert_eq!(
        code(&|r| r.container_id = "feedfeed".into()).await,
        Code::NotFound
    );
    assert_eq!(
        code(&|r| r.container_id = node.sandbox.clone()).await,
        Code::NotFound
    );
    assert_eq!(
        code(&|r| r.container_id = created.clone()).await,
        Code::FailedPrecondition
    );
    // It ends between the call and the client.
    let url = node.try_exec(good.clone()).await.unwrap();
    let stop = cri::StopContainerRequest {
        container_id: id,
        timeout: 0,
    };
    node.daemon.runtime().stop_container(stop).await.unwrap();
    let ended = Client::open(&url, "v4.channel.k8s.io").await.ended().await;
    assert_eq!(ended.status()["reason"], "InternalError", "{ended:?}");
}
