#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::io::duplex;
use tokio::time::timeout;

use super::super::testing::Client;
use super::*;
use crate::streaming::testing::LIMITS;

fn start() -> (Client, mpsc::Receiver<Forward>) {
    let (near, far) = duplex(64 * 1024);
    (Client::new(near), forward(far, Bytes::new(), LIMITS))
}

fn headers<'a>(kind: &'a str, port: &'a str, request: &'a str) -> [(&'a str, &'a str); 3] {
    [("streamtype", kind), ("port", port), ("requestid", request)]
}

/// Both streams of a pair as `kubectl` opens them.
async fn dial(client: &mut Client, port: &str, request: &str) -> (u32, u32) {
    let error = client.open(&headers("error", port, request)).await;
    client.link.connection.finish(error);
    (error, client.open(&headers("data", port, request)).await)
}

#[tokio::test]
async fn two_connections_go_their_own_ways() {
    let (mut client, mut forwards) = start();
    let (error, data) = dial(&mut client, "80", "0").await;
    let (other_error, other_data) = dial(&mut client, "443", "1").await;
    let (mut web, mut tls) = (forwards.recv().await.unwrap(), forwards.recv().await.unwrap());
    assert_eq!((web.port, tls.port), (80, 443));
    client.send(data, b"GET /");
    client.link.connection.finish(data);
    client.send(other_data, b"hello");
    client.link.drain().await.unwrap();
    assert_eq!(web.input.recv().await.unwrap(), "GET /");
    assert_eq!(web.input.recv().await, None, "the client has half-closed");
    assert_eq!(tls.input.recv().await.unwrap(), "hello");
    web.output.send(Bytes::from_static(b"200")).await.unwrap();
    drop((web.output, web.error));
    client
        .until(|client| client.finished.contains(&data) && client.finished.contains(&error))
        .await;
    assert_eq!((client.text(data), client.text(error)), ("200", ""));
    tls.error.send("connection refused".to_owned()).unwrap();
    drop(tls.output);
    client
        .until(|client| client.finished.contains(&other_data) && client.finished.contains(&other_error))
        .await;
    assert_eq!(client.text(other_error), "connection refused");
}

#[tokio::test]
async fn streams_without_request_belong_together_by_their_numbers() {
    let (mut client, mut forwards) = start();
    let error = client.ask(&[("streamtype", "error"), ("port", "80")]);
    let data = client.ask(&[("streamtype", "data"), ("port", "80")]);
    assert_eq!((error, data), (1, 3));
    client.link.drain().await.unwrap();
    assert_eq!(forwards.recv().await.unwrap().port, 80);
}

#[tokio::test]
async fn bad_ports_and_types_are_reset_and_harm_no_other() {
    let (mut client, mut forwards) = start();
    let bad = [
        client.ask(&headers("data", "0", "1")),
        client.ask(&headers("data", "65536", "2")),
        client.ask(&headers("data", "http", "3")),
        client.ask(&headers("stdin", "80", "4")),
        client.ask(&[("streamtype", "data"), ("requestid", "5")]),
        client.ask(&[("port", "80"), ("requestid", "6")]),
    ];
    client.until(|client| client.reset.len() == bad.len()).await;
    assert_eq!(client.reset, bad);
    let first = client.open(&headers("error", "80", "7")).await;
    let twice = client.ask(&headers("error", "80", "7"));
    client.until(|client| client.reset.contains(&twice)).await;
    client.open(&headers("data", "80", "7")).await;
    assert_eq!(forwards.recv().await.unwrap().port, 80);
    assert!(!client.reset.contains(&first));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stays_alone_is_reset() {
    let (mut client, mut forwards) = start();
    let alone = client.open(&headers("error", "80", "1")).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let later = client.open(&headers("data", "80", "2")).await;
    client.until(|client| !client.reset.is_empty()).await;
    assert_eq!(client.reset, [alone]);
    client.open(&headers("error", "80", "2")).await;
    assert_eq!(forwards.recv().await.unwrap().port, 80);
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.link.connection.ping(1);
    client.until(|client| !client.pongs.is_empty()).await;
    assert!(!client.reset.contains(&later));
}

#[tokio::test]
async fn a_reset_ends_one_connection_and_not_the_other() {
    let (mut client, mut forwards) = start();
    let (_, data) = dial(&mut client, "80", "0").await;
    dial(&mut client, "81", "1").await;
    let (mut gone, kept) = (forwards.recv().await.unwrap(), forwards.recv().await.unwrap());
    client.link.connection.reset(data, Status::Cancel);
    client.link.drain().await.unwrap();
    assert_eq!(gone.input.recv().await, None);
    gone.output.closed().await;
    kept.output.send(Bytes::from_static(b"x")).await.unwrap();
}

#[tokio::test]
async fn both_sides_can_end_it() {
    let (mut client, mut forwards) = start();
    let (_, data) = dial(&mut client, "80", "0").await;
    let mut forward = forwards.recv().await.unwrap();
    drop(forwards);
    client
        .until(|client| client.left && client.reset.contains(&data))
        .await;
    assert_eq!(forward.input.recv().await, None);

    let (mut client, mut forwards) = start();
    dial(&mut client, "80", "0").await;
    let mut forward = forwards.recv().await.unwrap();
    drop(client);
    assert_eq!(forward.input.recv().await, None);
    assert!(
        timeout(Duration::from_secs(5), forwards.recv())
            .await
            .unwrap()
            .is_none()
    );
}
