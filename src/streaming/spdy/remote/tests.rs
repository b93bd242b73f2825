#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::io::duplex;
use tokio::task::JoinHandle;

use super::super::testing::Client;
use super::*;
use crate::streaming::session::Size;
use crate::streaming::testing::{ALL, LIMITS, TTY};

type Starting = JoinHandle<Result<Remote, ProtocolError>>;

fn start(protocol: RemoteProtocol, streams: Streams) -> (Client, Starting) {
    let (near, far) = duplex(64 * 1024);
    (
        Client::new(near),
        tokio::spawn(remote(far, Bytes::new(), protocol, streams, LIMITS)),
    )
}

async fn open(client: &mut Client, kinds: &[&str]) -> Vec<u32> {
    let mut ids = Vec::new();
    for kind in kinds {
        ids.push(client.open(&[("streamtype", kind)]).await);
    }
    ids
}

#[tokio::test]
async fn a_command_reads_writes_and_exits() {
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    let ids = open(&mut client, &["error", "stdin", "stdout", "stderr"]).await;
    let [error, stdin, stdout, stderr] = ids[..] else {
        panic!()
    };
    let mut remote = starting.await.unwrap().unwrap();
    client.send(stdin, b"hello");
    client.link.connection.finish(stdin);
    client.link.drain().await.unwrap();
    let mut input = remote.stdin.take().unwrap();
    assert_eq!(input.recv().await.unwrap(), "hello");
    assert_eq!(input.recv().await, None);
    remote
        .stdout
        .as_ref()
        .unwrap()
        .send(Bytes::from_static(b"out"))
        .await
        .unwrap();
    remote
        .stderr
        .as_ref()
        .unwrap()
        .send(Bytes::from_static(b"err"))
        .await
        .unwrap();
    // Both senders are still alive, as may be with output that was queued last.
    remote.outcome.send(Outcome::Exited(7)).unwrap();
    client.until(|client| client.left).await;
    assert_eq!((client.text(stdout), client.text(stderr)), ("out", "err"));
    let status: serde_json::Value = serde_json::from_str(client.text(error)).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "7");
    let at = |id| client.finished.iter().position(|other| *other == id).unwrap();
    assert!(
        at(stdout).max(at(stderr)) < at(error) && at(error) < at(stdin),
        "{:?}",
        client.finished
    );
    assert!(remote.stdout.unwrap().send(Bytes::new()).await.is_err());
}

#[tokio::test]
async fn a_terminal_is_resized_and_output_is_one_stream() {
    let (mut client, starting) = start(RemoteProtocol::V4, TTY);
    let ids = open(&mut client, &["error", "stdin", "stdout", "resize"]).await;
    let mut remote = starting.await.unwrap().unwrap();
    client.send(ids[3], br#"{"Width":80,"Height":24}"#);
    client.link.drain().await.unwrap();
    assert_eq!(
        remote.resize.recv().await,
        Some(Size {
            width: 80,
            height: 24
        })
    );
    assert!(remote.stderr.is_none());
    remote.outcome.send(Outcome::Success).unwrap();
    client.until(|client| client.left).await;
    assert!(client.text(ids[0]).contains(r#""status":"Success""#));
}

#[tokio::test]
async fn version_two_has_no_resize_stream_and_says_nothing_on_success() {
    let (mut client, starting) = start(RemoteProtocol::V2, TTY);
    let ids = open(&mut client, &["stdout", "stdin", "error"]).await;
    let mut remote = starting.await.unwrap().unwrap();
    assert_eq!(remote.resize.recv().await, None);
    remote.outcome.send(Outcome::Success).unwrap();
    client.until(|client| client.finished.contains(&ids[2])).await;
    assert_eq!(client.text(ids[2]), "");
}

#[tokio::test]
async fn a_result_that_never_comes_is_a_failure() {
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    let ids = open(&mut client, &["error", "stdin", "stdout", "stderr"]).await;
    drop(starting.await.unwrap().unwrap());
    client.until(|client| client.finished.contains(&ids[0])).await;
    assert!(client.text(ids[0]).contains("InternalError"));
}

#[tokio::test]
async fn streams_that_nobody_asked_for_are_refused() {
    let (mut client, starting) = start(
        RemoteProtocol::V4,
        Streams {
            stdout: true,
            ..Streams::default()
        },
    );
    let wrong = [
        client.ask(&[("streamtype", "stdin")]),
        client.ask(&[("streamtype", "nonsense")]),
        client.ask(&[]),
    ];
    open(&mut client, &["stdout", "error"]).await;
    let again = client.ask(&[("streamtype", "stdout")]);
    let _remote = starting.await.unwrap().unwrap();
    client.until(|client| client.reset.len() == 4).await;
    assert_eq!(client.reset, [wrong[0], wrong[1], wrong[2], again]);
}

#[tokio::test(start_paused = true)]
async fn streams_that_do_not_come_end_the_connection() {
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    open(&mut client, &["error", "stdin"]).await;
    let error = starting.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            ProtocolError::Incomplete {
                opened: 2,
                expected: 4,
                ..
            }
        ),
        "{error:?}"
    );
    client
        .until(|client| client.left && client.reset.len() == 2)
        .await;
    assert!(matches!(client.link.next().await, Err(ProtocolError::Gone)));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    open(&mut client, &["error", "stdin", "stdout", "stderr"]).await;
    let mut remote = starting.await.unwrap().unwrap();
    tokio::time::sleep(LIMITS.idle - Duration::from_secs(60)).await;
    remote
        .stdout
        .as_ref()
        .unwrap()
        .send(Bytes::from_static(b"alive"))
        .await
        .unwrap();
    client.until(|client| client.length(5) > 0).await;
    tokio::time::sleep(LIMITS.idle - Duration::from_secs(60)).await;
    assert!(!remote.outcome.is_closed());
    tokio::time::sleep(Duration::from_secs(120)).await;
    remote.outcome.closed().await;
    client
        .until(|client| client.reset.len() == 4 && client.left)
        .await;
}

#[tokio::test]
async fn when_the_client_goes_everything_ends() {
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    open(&mut client, &["error", "stdin", "stdout", "stderr"]).await;
    let mut remote = starting.await.unwrap().unwrap();
    drop(client);
    remote.outcome.closed().await;
    assert_eq!(remote.stdin.unwrap().recv().await, None);
    assert!(remote.stdout.unwrap().send(Bytes::new()).await.is_err());
}

/// Neither side may wait for the other: `cat` with both pipes full is the case.
#[tokio::test]
async fn megabytes_go_both_ways_at_once() {
    const TOTAL: usize = 32 * 1024 * 1024;
    static BLOCK: [u8; 100_000] = [b'x'; 100_000];
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    let ids = open(&mut client, &["error", "stdin", "stdout", "stderr"]).await;
    let remote = starting.await.unwrap().unwrap();
    let echo = tokio::spawn(async move {
        let (mut input, output) = (remote.stdin.unwrap(), remote.stdout.unwrap());
        while let Some(bytes) = input.recv().await {
            output.send(bytes).await.unwrap();
        }
        remote.outcome.send(Outcome::Success).unwrap();
    });
    let output = client.link.outputs.open(ids[1]);
    let feed = tokio::spawn(async move {
        let mut sent = 0;
        while sent < TOTAL {
            output.send(Bytes::from_static(&BLOCK)).await.unwrap();
            sent += BLOCK.len();
        }
        sent
    });
    client.until(|client| client.left).await;
    assert_eq!(client.length(ids[2]), feed.await.unwrap());
    echo.await.unwrap();
}

/// A process that writes nothing and one that reads nothing: pings are answered all the same.
#[tokio::test]
async fn pings_are_answered_while_a_session_stands_still() {
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    let ids = open(&mut client, &["error", "stdin", "stdout", "stderr"]).await;
    let _remote = starting.await.unwrap().unwrap();
    for _ in 0..32 {
        client.send(ids[1], b"nobody reads this");
    }
    client.link.connection.ping(1);
    client.until(|client| client.pongs == [1]).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_the_output_and_not_the_memory() {
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    open(&mut client, &["error", "stdin", "stdout", "stderr"]).await;
    let remote = starting.await.unwrap().unwrap();
    let output = remote.stdout.unwrap();
    let flood = async {
        let mut count = 0;
        while timeout(Duration::from_millis(200), output.send(vec![0; 32 * 1024].into()))
            .await
            .is_ok()
        {
            count += 1;
        }
        count
    };
    assert!(
        flood.await < 100,
        "the queue, the connection's 64 KiB and the socket's"
    );
}

#[tokio::test]
async fn bytes_that_came_with_the_request_are_not_lost() {
    let (near, far) = duplex(64 * 1024);
    let mut client = Client::new(near);
    client.ask(&[("streamtype", "error")]);
    client.ask(&[("streamtype", "stdout")]);
    let first = client.link.connection.output().split().freeze();
    let streams = Streams {
        stdout: true,
        ..Streams::default()
    };
    let remote = remote(far, first, RemoteProtocol::V4, streams, LIMITS)
        .await
        .unwrap();
    remote
        .stdout
        .unwrap()
        .send(Bytes::from_static(b"hi"))
        .await
        .unwrap();
    client.until(|client| client.text(3) == "hi").await;
}

#[tokio::test]
async fn what_is_not_spdy_ends_the_session() {
    let (near, far) = duplex(1024);
    let first = Bytes::from_static(b"\x80\x02\0\x01\0\0\0\0");
    let error = remote(far, first, RemoteProtocol::V4, ALL, LIMITS)
        .await
        .unwrap_err();
    assert!(matches!(error, ProtocolError::Spdy(_)), "{error:?}");
    let mut client = Client::new(near);
    client.until(|client| client.left).await;
}

/// The command has exited without reading its stdin, which is still held by whoever would have fed it.
#[tokio::test]
async fn a_full_stdin_does_not_hold_up_the_end() {
    let (mut client, starting) = start(RemoteProtocol::V4, ALL);
    let ids = open(&mut client, &["error", "stdin", "stdout", "stderr"]).await;
    let remote = starting.await.unwrap().unwrap();
    for _ in 0..200 {
        client.send(ids[1], b"nobody reads this");
    }
    client.link.drain().await.unwrap();
    client.link.connection.ping(1);
    let _stdin = remote.stdin;
    remote.outcome.send(Outcome::Success).unwrap();
    client.until(|client| client.left && client.pongs == [1]).await;
}
