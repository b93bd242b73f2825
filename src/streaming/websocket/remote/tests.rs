#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::super::negotiate_remote;
use super::*;
use crate::streaming::session::Size;
use crate::streaming::testing::{ALL, LIMITS, TTY};

async fn start(protocol: &str, streams: Streams) -> (WebSocketStream<DuplexStream>, Remote) {
    let (near, far) = duplex(64 * 1024);
    let protocol = negotiate_remote(&[protocol]).unwrap();
    let remote = remote(far, protocol, streams, LIMITS).await.unwrap();
    (
        WebSocketStream::from_raw_socket(near, Role::Client, None).await,
        remote,
    )
}

async fn next(client: &mut WebSocketStream<DuplexStream>) -> Vec<u8> {
    timeout(Duration::from_secs(10), client.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .into_data()
        .to_vec()
}

#[tokio::test]
async fn version_four_reads_writes_and_exits() {
    let (mut client, mut remote) = start("v4.channel.k8s.io", ALL).await;
    assert_eq!(next(&mut client).await, [1], "the empty message that shows life");
    client.send(Message::binary(&b"\0ls\n"[..])).await.unwrap();
    client
        .send(Message::binary(&b"\x09nobody's channel"[..]))
        .await
        .unwrap();
    assert_eq!(remote.stdin.as_mut().unwrap().recv().await.unwrap(), "ls\n");
    remote
        .stdout
        .as_ref()
        .unwrap()
        .send(Bytes::from_static(b"out"))
        .await
        .unwrap();
    assert_eq!(next(&mut client).await, b"\x01out");
    remote
        .stderr
        .as_ref()
        .unwrap()
        .send(Bytes::from_static(b"err"))
        .await
        .unwrap();
    remote.outcome.send(Outcome::Exited(3)).unwrap();
    assert_eq!(next(&mut client).await, b"\x02err");
    let status = next(&mut client).await;
    assert_eq!(status[0], 3);
    let status: serde_json::Value = serde_json::from_slice(&status[1..]).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(frame.code, CloseCode::Normal);
}

#[tokio::test]
async fn base64_takes_either_frame_and_answers_with_text() {
    let (mut client, mut remote) = start("v4.base64.channel.k8s.io", TTY).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("1"));
    client.send(Message::text("0bHMK")).await.unwrap();
    client.send(Message::binary(&b"0bHMK"[..])).await.unwrap();
    let stdin = remote.stdin.as_mut().unwrap();
    assert_eq!(stdin.recv().await.unwrap(), "ls\n");
    assert_eq!(stdin.recv().await.unwrap(), "ls\n");
    // {"Width":80,"Height":24}
    client
        .send(Message::text("4eyJXaWR0aCI6ODAsIkhlaWdodCI6MjR9"))
        .await
        .unwrap();
    assert_eq!(
        remote.resize.recv().await,
        Some(Size {
            width: 80,
            height: 24
        })
    );
    remote
        .stdout
        .unwrap()
        .send(Bytes::from_static(b"hi"))
        .await
        .unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("1aGk="));
}

#[tokio::test]
async fn version_five_ends_stdin_and_the_session_goes_on() {
    let (mut client, mut remote) = start("v5.channel.k8s.io", ALL).await;
    assert_eq!(next(&mut client).await, [1]);
    client.send(Message::binary(&b"\0last"[..])).await.unwrap();
    client.send(Message::binary(&[255, 0][..])).await.unwrap();
    let stdin = remote.stdin.as_mut().unwrap();
    assert_eq!(stdin.recv().await.unwrap(), "last");
    assert_eq!(stdin.recv().await, None);
    remote
        .stdout
        .as_ref()
        .unwrap()
        .send(Bytes::from_static(b"sorted"))
        .await
        .unwrap();
    assert_eq!(next(&mut client).await, b"\x01sorted");
}

#[tokio::test]
async fn version_one_is_silent_on_success_and_tells_failure_as_text() {
    let (mut client, remote) = start("channel.k8s.io", ALL).await;
    assert_eq!(next(&mut client).await, [1]);
    remote.outcome.send(Outcome::Success).unwrap();
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
    let (mut client, remote) = start("channel.k8s.io", ALL).await;
    assert_eq!(next(&mut client).await, [1]);
    remote
        .outcome
        .send(Outcome::Failed("no such file".to_owned()))
        .unwrap();
    assert_eq!(next(&mut client).await, b"\x03no such file");
}

#[tokio::test]
async fn when_the_client_closes_or_vanishes_everything_ends() {
    for polite in [true, false] {
        let (mut client, mut remote) = start("v4.channel.k8s.io", ALL).await;
        if polite {
            client.close(None).await.unwrap();
        } else {
            drop(client);
        }
        remote.outcome.closed().await;
        assert_eq!(remote.stdin.unwrap().recv().await, None);
        assert!(remote.stdout.unwrap().send(Bytes::new()).await.is_err());
    }
}

#[tokio::test]
async fn an_unreadable_message_ends_the_session_with_a_reason() {
    let (mut client, mut remote) = start("base64.channel.k8s.io", ALL).await;
    assert_eq!(next(&mut client).await, b"1");
    client.send(Message::text("0%%%%")).await.unwrap();
    let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(frame.code, CloseCode::Invalid);
    assert!(frame.reason.contains("base64"), "{frame:?}");
    drop(client);
    remote.outcome.closed().await;
}

#[tokio::test]
async fn long_pieces_are_cut_for_old_clients() {
    let (mut client, remote) = start("v4.channel.k8s.io", ALL).await;
    assert_eq!(next(&mut client).await, [1]);
    remote
        .stdout
        .as_ref()
        .unwrap()
        .send(vec![b'x'; 100_000].into())
        .await
        .unwrap();
    let mut total = 0;
    while total < 100_000 {
        let message = next(&mut client).await;
        assert!(message.len() <= 32 * 1024 && message[0] == 1);
        total += message.len() - 1;
    }
    assert_eq!(total, 100_000);
}

#[tokio::test]
async fn megabytes_go_both_ways_at_once() {
    const COUNT: usize = 200;
    let (client, remote) = start("v5.channel.k8s.io", ALL).await;
    tokio::spawn(async move {
        let (mut input, output) = (remote.stdin.unwrap(), remote.stdout.unwrap());
        while let Some(bytes) = input.recv().await {
            output.send(bytes).await.unwrap();
        }
        remote.outcome.send(Outcome::Success).unwrap();
    });
    let (mut sink, mut stream) = client.split();
    tokio::spawn(async move {
        for _ in 0..COUNT {
            sink.send(Message::binary(vec![0; 100_001])).await.unwrap();
        }
        sink.send(Message::binary(&[255, 0][..])).await.unwrap();
        // Keeps the client's half alive to the end.
        futures_util::future::pending::<()>().await;
    });
    let mut total = 0;
    while let Some(Ok(Message::Binary(message))) = stream.next().await {
        if message[0] == 1 {
            total += message.len() - 1;
        }
    }
    assert_eq!(total, COUNT * 100_000);
}

/// A client of version 5 gives up after 61 seconds of silence, even if it is the command that does not read.
#[tokio::test(start_paused = true)]
async fn a_session_whose_stdin_nobody_reads_still_shows_life() {
    let (mut client, _remote) = start("v5.channel.k8s.io", ALL).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(&[1][..]));
    for _ in 0..70 {
        client.send(Message::binary(&b"\0x"[..])).await.unwrap();
    }
    for _ in 0..3 {
        let message = timeout(Duration::from_secs(30), client.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(matches!(message, Message::Pong(_)), "{message:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let (mut client, _remote) = start("v4.channel.k8s.io", ALL).await;
    assert_eq!(next(&mut client).await, [1]);
    let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(frame.code, CloseCode::Away);
}
