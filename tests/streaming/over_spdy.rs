//! What a kubelet passes on: SPDY from end to end.

use std::time::{Duration, Instant};

use cri::AttachRequest;
use tokio::time::{sleep, timeout};

use super::{
    Node,
    client::{Client, PATIENCE},
    spdy::{Remote, Spdy},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_reads_writes_and_exits() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let script = r"cat; printf 'err\000\n' >&2; exit 7";
    let url = node
        .exec(&id, script, |request| {
            (request.stdin, request.stderr) = (true, true)
        })
        .await;
    let mut remote = Remote::open(&url, &["stdin", "stdout", "stderr"]).await;
    let sent: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let stdin = remote.stdin;
    for piece in sent.chunks(10_000) {
        remote.spdy.send(stdin, piece.to_vec()).await;
    }
    remote.spdy.end(stdin).await;
    let ended = remote.ended().await;
    assert_eq!((ended.stdout, &ended.stderr[..]), (sent, &b"err\0\n"[..]));
    let url = node.exec(&id, "exit 3", |_| {}).await;
    assert_eq!(Remote::open(&url, &["stdout"]).await.ended().await.code(), 3);
    let url = node
        .exec(&id, "", |request| request.cmd = vec!["/no/such/program".into()])
        .await;
    let status = Remote::open(&url, &["stdout"]).await.ended().await.status();
    assert_eq!(status["reason"], "InternalError", "{status}");
    assert!(
        status["message"].to_string().contains("/no/such/program"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_resized() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let url = node
        .exec(&id, "exec sh", |request| {
            (request.stdin, request.tty) = (true, true)
        })
        .await;
    let mut remote = Remote::open(&url, &["stdin", "stdout", "resize"]).await;
    for (size, shown) in [
        (r#"{"Width":123,"Height":45}"#, "45 123"),
        (r#"{"Width":99,"Height":11}"#, "11 99"),
    ] {
        remote.spdy.send(remote.resize, size).await;
        // The size is not an answer to anything: it is asked for until it is there.
        let end = Instant::now() + PATIENCE;
        while !remote.spdy.text(remote.stdout).contains(shown) {
            assert!(Instant::now() < end, "{}", remote.spdy.text(remote.stdout));
            remote.spdy.send(remote.stdin, "stty size\n").await;
            let _ = timeout(Duration::from_millis(300), remote.expect(shown)).await;
        }
    }
    remote.spdy.send(remote.stdin, "exit 5\n").await;
    assert_eq!(remote.ended().await.code(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_client_is_half_closed() {
    let node = Node::new().await;
    let id = node
        .run(
            &["sh", "-c", "while read l; do echo out $l; done; exit 4"],
            |config| {
                (config.stdin, config.stdin_once) = (true, true);
            },
        )
        .await;
    let request = AttachRequest {
        container_id: id.clone(),
        stdin: true,
        stdout: true,
        ..Default::default()
    };
    let url = node
        .daemon
        .runtime()
        .attach(request)
        .await
        .unwrap()
        .into_inner()
        .url;
    let mut remote = Remote::open(&url, &["stdin", "stdout"]).await;
    remote.spdy.send(remote.stdin, "one\n").await;
    remote.expect("out one\n").await;
    remote.spdy.end(remote.stdin).await;
    // How an attachment ends says nothing about the container.
    assert_eq!(remote.ended().await.code(), 0);
    assert_eq!(node.daemon.ended(&id).await.exit_code, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_share_a_session() {
    let node = Node::new().await;
    node.serve(7000, "exec nc -ll -p 7000 -e cat").await;
    let url = node.forward(&node.sandbox, &[]).await.unwrap();
    let mut spdy = Spdy::open(&url, "portforward.k8s.io").await;
    let mut open = Vec::new();
    for number in 0..40 {
        let (error, data) = spdy.dial(7000, number).await;
        spdy.send(data, vec![b'x'; number + 1]).await;
        open.push((error, data, number));
        // The pod's server lets few wait to be accepted.
        if number % 4 == 3 {
            spdy.until(|spdy| {
                open.iter()
                    .all(|(_, data, number)| spdy.text(*data).len() == number + 1)
            })
            .await;
        }
    }
    let (error, refused) = spdy.dial(7001, 40).await;
    spdy.until(|spdy| spdy.has_ended(error) && spdy.has_ended(refused))
        .await;
    let why = spdy.text(error);
    assert!(
        why.contains("failed to connect to port 7001") && why.contains("refused"),
        "{why}"
    );
    let (_, cancelled, _) = open.remove(7);
    spdy.reset(cancelled).await;
    for &(_, data, _) in &open {
        spdy.end(data).await;
    }
    spdy.until(|spdy| {
        open.iter()
            .all(|(error, data, _)| spdy.has_ended(*error) && spdy.has_ended(*data))
    })
    .await;
    for (error, data, number) in open {
        assert_eq!(spdy.text(error), "");
        assert_eq!(spdy.text(data).len(), number + 1);
    }
    assert!(!spdy.left && spdy.reset.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_hold_up_the_pod_and_not_the_memory() {
    let node = Node::new().await;
    let id = node.serve(7002, "exec nc -ll -p 7002 -e cat /dev/zero").await;
    let before = node.memory();
    let mut stopped = Vec::new();
    for _ in 0..4 {
        let url = node.exec(&id, "exec cat /dev/zero", |_| {}).await;
        stopped.push(Remote::open(&url, &["stdout"]).await.spdy);
        let mut spdy = Spdy::open(
            &node.forward(&node.sandbox, &[]).await.unwrap(),
            "portforward.k8s.io",
        )
        .await;
        for number in 0..4 {
            spdy.dial(7002, number).await;
        }
        stopped.push(spdy);
    }
    // Grows no more once the queues are full.
    let mut grown = 0;
    for _ in 0..10 {
        sleep(Duration::from_millis(300)).await;
        grown = node.memory().saturating_sub(before);
    }
    assert!(grown < 80_000, "{grown} kB more for 20 streams that nobody reads");
    // Others are served as ever.
    let url = node.exec(&id, "echo hello", |_| {}).await;
    assert_eq!(
        Client::open(&url, "v4.channel.k8s.io").await.ended().await.text(),
        "hello\n"
    );
}

/// Sessions of every kind, ended by either side, leave nothing open: the small form of what the benchmark
/// `streams` does with thousands.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_sessions_leave_nothing_open() {
    let node = Node::new().await;
    let id = node.serve(7003, "exec nc -ll -p 7003 -e cat").await;
    let session = async |number: usize| {
        if number.is_multiple_of(2) {
            let mut spdy = Spdy::open(
                &node.forward(&node.sandbox, &[]).await.unwrap(),
                "portforward.k8s.io",
            )
            .await;
            let (_, data) = spdy.dial(7003, 1).await;
            spdy.dial(7004, 2).await;
            spdy.send(data, "hello").await;
            spdy.until(|spdy| spdy.text(data) == "hello").await;
            return;
        }
        let url = node
            .exec(&id, "echo hello; cat", |request| request.stdin = true)
            .await;
        let mut remote = Remote::open(&url, &["stdin", "stdout"]).await;
        remote.expect("hello").await;
        if !number.is_multiple_of(3) {
            remote.spdy.end(remote.stdin).await;
            assert_eq!(remote.ended().await.code(), 0);
        }
    };
    let some = async |numbers: std::ops::Range<usize>| {
        // The pod's server lets few wait to be accepted.
        for first in numbers.step_by(4) {
            futures_util::future::join_all((first..first + 4).map(&session)).await;
        }
    };
    some(0..16).await;
    // The most sessions at once so far: most connections to the Engine that are kept for later calls are there now. How
    // many calls meet is chance, so a few may come yet; a leak would leave one for each session.
    futures_util::future::join_all((0..8).map(|number| session(2 * number + 1))).await;
    let before = node.files() + 4;
    some(16..256).await;
    let end = Instant::now() + PATIENCE;
    while node.files() > before {
        assert!(
            Instant::now() < end,
            "{} files are open, at most {before} may be",
            node.files()
        );
        sleep(Duration::from_millis(50)).await;
    }
}
