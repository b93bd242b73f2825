#![allow(clippy::unwrap_used)]

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::streaming::spdy;
use crate::streaming::spdy::testing::Client;
use crate::streaming::testing::LIMITS;

#[tokio::test]
async fn messages_become_a_stream_and_back() {
    let (near, far) = duplex(1024 * 1024);
    let mut tunnel = tunnel(far).await;
    let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    for part in [&b"he"[..], b"", b"llo"] {
        client.send(Message::binary(part)).await.unwrap();
    }
    client.send(Message::Ping(Bytes::new())).await.unwrap();
    client.send(Message::binary(&b" world"[..])).await.unwrap();
    let mut text = [0; 11];
    tunnel.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"hello world");
    tunnel.write_all(&[7; 100_000]).await.unwrap();
    tunnel.flush().await.unwrap();
    let mut total = 0;
    while total < 100_000 {
        match client.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => {
                assert!(bytes.len() <= MAX_MESSAGE);
                total += bytes.len();
            }
            Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
    client.send(Message::Close(None)).await.unwrap();
    assert_eq!(tunnel.read(&mut text).await.unwrap(), 0);
}

/// What `crictl port-forward --transport websocket` does.
#[tokio::test]
async fn spdy_goes_through_a_tunnel() {
    let (near, far) = duplex(64 * 1024);
    let mut forwards = spdy::forward(tunnel(far).await, Bytes::new(), LIMITS);
    let (inner, outer) = duplex(64 * 1024);
    tokio::spawn(async move {
        let socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let (mut sink, mut stream) = socket.split();
        let (mut reader, mut writer) = tokio::io::split(outer);
        tokio::spawn(async move {
            let mut buffer = [0; 1000];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                sink.send(Message::binary(buffer[..length].to_vec()))
                    .await
                    .unwrap();
            }
        });
        while let Some(Ok(Message::Binary(bytes))) = stream.next().await {
            writer.write_all(&bytes).await.unwrap();
        }
    });
    let mut client = Client::new(inner);
    client
        .open(&[("streamtype", "error"), ("port", "80"), ("requestid", "0")])
        .await;
    let data = client
        .open(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")])
        .await;
    let forward = forwards.recv().await.unwrap();
    assert_eq!(forward.port, 80);
    forward.output.send(vec![b'x'; 200_000].into()).await.unwrap();
    drop((forward.output, forward.error));
    client.until(|client| client.finished.contains(&data)).await;
    assert_eq!(client.length(data), 200_000);
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_stream() {
    let (near, far) = duplex(1024);
    let mut tunnel = tunnel(far).await;
    drop(near);
    assert_eq!(tunnel.read(&mut [0; 8]).await.unwrap(), 0);
}
