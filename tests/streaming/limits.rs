//! Time limits, room for sessions, and the end of the daemon.

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    Node,
    client::{Client, PATIENCE, STDIN, STDOUT, address, connect},
    spdy::{Remote, Spdy},
};

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_opened_in_time_end_the_session() {
    let node = Node::with(&["--stream-creation-timeout=2s"]).await;
    let id = node.asleep().await;
    let url = node.exec(&id, "true", |_| {}).await;
    let began = Instant::now();
    let mut spdy = Spdy::open(&url, "v4.channel.k8s.io").await;
    let error = spdy.stream(&[("streamtype", "error")]).await;
    spdy.until(|spdy| spdy.left).await;
    assert!(spdy.reset.contains(&error));
    spdy.until(|spdy| spdy.closed).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    // Of a forwarded connection only the half is given up, not the session.
    let url = node.forward(&node.sandbox, &[]).await.unwrap();
    let mut spdy = Spdy::open(&url, "portforward.k8s.io").await;
    let headers = [("streamtype", "data"), ("port", "80"), ("requestid", "0")];
    let alone = spdy.stream(&headers).await;
    spdy.until(|spdy| spdy.reset.contains(&alone)).await;
    assert!(!spdy.left && !spdy.closed);
    let (error, _) = spdy.dial(1, 1).await;
    spdy.until(|spdy| spdy.has_ended(error)).await;
    assert!(spdy.text(error).contains("refused"), "{}", spdy.text(error));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_are_closed_and_busy_ones_are_not() {
    let node = Node::with(&["--stream-idle-timeout=5s"]).await;
    let id = node.asleep().await;
    let idle = async || node.exec(&id, "echo up; sleep 1000", |_| {}).await;
    let busy = async {
        // Longer than the limit altogether.
        let url = node
            .exec(&id, "for i in 1 2 3 4 5 6 7; do echo $i; sleep 1; done", |_| {})
            .await;
        Client::open(&url, "v4.channel.k8s.io").await.ended().await
    };
    let spdy = async {
        let began = Instant::now();
        let mut remote = Remote::open(&idle().await, &["stdout"]).await;
        remote.expect("up").await;
        remote.spdy.until(|spdy| spdy.left).await;
        assert!(remote.spdy.reset.contains(&remote.stdout));
        began.elapsed()
    };
    let websocket = async {
        let began = Instant::now();
        let mut client = Client::open(&idle().await, "v4.channel.k8s.io").await;
        client.expect(STDOUT, "up").await;
        assert_eq!(client.receive().await, None, "closed without a result");
        began.elapsed()
    };
    let (busy, spdy, websocket) = tokio::join!(busy, spdy, websocket);
    assert_eq!((busy.text().as_str(), busy.code()), ("1\n2\n3\n4\n5\n6\n7\n", 0));
    for waited in [spdy, websocket] {
        assert!(waited >= Duration::from_secs(5), "{waited:?}");
    }
}

/// The open files bound the sessions; the soft limit does not, as it is raised.
#[tokio::test(flavor = "multi_thread")]
async fn more_sessions_than_there_is_room_for_are_refused() {
    let script = std::env::temp_dir().join(format!("dockside-limited-{}", std::process::id()));
    let program = env!("CARGO_BIN_EXE_dockside");
    std::fs::write(
        &script,
        format!("#!/bin/sh\nulimit -Sn 100\nulimit -Hn 160\nexec {program} \"$@\"\n"),
    )
    .unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let daemon = support::Options::new(&script).start().await;
    std::fs::remove_file(&script).unwrap();
    let node = Node::of(daemon).await;
    let id = node.serve(7005, "exec nc -ll -p 7005 -e cat").await;
    let session = async || {
        Spdy::open(
            &node.forward(&node.sandbox, &[]).await.unwrap(),
            "portforward.k8s.io",
        )
        .await
    };
    // A quarter of 160.
    let mut open = Vec::new();
    for _ in 0..40 {
        open.push(session().await);
    }
    let url = node.forward(&node.sandbox, &[]).await.unwrap();
    let (host, path) = address(&url);
    let mut io = connect(&url).await;
    let request = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, io.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("too many streams are open"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after"), "{answer}");
    // Nor more forwarded connections; and the refused URL works once there is room again.
    let one = &mut open[0];
    for number in 0..40 {
        one.dial(7005, number).await;
    }
    let (error, _) = one.dial(7005, 40).await;
    one.until(|spdy| spdy.has_ended(error)).await;
    assert!(
        one.text(error).contains("too many connections"),
        "{}",
        one.text(error)
    );
    drop(open);
    let end = Instant::now() + PATIENCE;
    while node.files() > 60 {
        assert!(Instant::now() < end, "{} files are open", node.files());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut spdy = Spdy::open(&url, "portforward.k8s.io").await;
    let (_, data) = spdy.dial(7005, 0).await;
    spdy.send(data, "hello").await;
    spdy.until(|spdy| spdy.text(data) == "hello").await;
    let url = node.exec(&id, "echo hello", |_| {}).await;
    assert_eq!(
        Client::open(&url, "v4.channel.k8s.io").await.ended().await.text(),
        "hello\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_when_the_daemon_ends() {
    // Longer than a daemon's end is waited for here.
    let mut node = Node::with(&["--shutdown-timeout=5m"]).await;
    let id = node.serve(7006, "exec nc -ll -p 7006 -e cat").await;
    let url = async || {
        node.exec(&id, "echo up; cat", |request| request.stdin = true)
            .await
    };
    let mut spdy = Remote::open(&url().await, &["stdin", "stdout"]).await;
    spdy.expect("up").await;
    let mut websocket = Client::open(&url().await, "v4.channel.k8s.io").await;
    websocket.expect(STDOUT, "up").await;
    websocket.send(STDIN, "x").await;
    let mut forwarded = Spdy::open(
        &node.forward(&node.sandbox, &[]).await.unwrap(),
        "portforward.k8s.io",
    )
    .await;
    let (_, data) = forwarded.dial(7006, 0).await;
    forwarded.send(data, "hello").await;
    forwarded.until(|spdy| spdy.text(data) == "hello").await;
    // One that reads nothing must not hold it up.
    let stuck = node.exec(&id, "cat /dev/zero", |_| {}).await;
    let _stuck = Remote::open(&stuck, &["stdout"]).await;
    let clients = tokio::spawn(async move {
        forwarded.until(|spdy| spdy.left).await;
        (
            spdy.ended().await,
            websocket.ended().await,
            forwarded.has_ended(data),
        )
    });
    let status = tokio::task::spawn_blocking(move || (node.daemon.stop(), node))
        .await
        .unwrap()
        .0;
    assert!(status.success(), "{status}");
    let (spdy, websocket, forwarded) = clients.await.unwrap();
    for ended in [spdy, websocket] {
        let status = ended.status();
        assert_eq!(status["reason"], "InternalError");
        assert!(
            status["message"].to_string().contains("dockside has stopped"),
            "{status}"
        );
    }
    assert!(forwarded);
}
