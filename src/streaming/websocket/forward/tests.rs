#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::duplex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::streaming::testing::LIMITS;

#[tokio::test]
async fn each_port_has_a_data_and_an_error_channel() {
    let (near, far) = duplex(64 * 1024);
    let ports = vec![80, 8443];
    let mut forwards = forward_v4(far, ports, Encoding::Binary, LIMITS).await.unwrap();
    let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let (mut web, mut tls) = (forwards.recv().await.unwrap(), forwards.recv().await.unwrap());
    assert_eq!((web.port, tls.port), (80, 8443));
    assert!(forwards.recv().await.is_none());
    for expected in [[0, 80, 0], [1, 80, 0], [2, 0xfb, 0x20], [3, 0xfb, 0x20]] {
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::binary(expected.to_vec())
        );
    }
    client.send(Message::binary(&b"\x02hello"[..])).await.unwrap();
    client.send(Message::binary(&b"\0GET /"[..])).await.unwrap();
    assert_eq!(web.input.recv().await.unwrap(), "GET /");
    assert_eq!(tls.input.recv().await.unwrap(), "hello");
    web.output.send(Bytes::from_static(b"200")).await.unwrap();
    assert_eq!(
        client.next().await.unwrap().unwrap(),
        Message::binary(&b"\x00200"[..])
    );
    tls.error.send("connection refused".to_owned()).unwrap();
    assert_eq!(
        client.next().await.unwrap().unwrap(),
        Message::binary(&b"\x03connection refused"[..])
    );
    drop((web.output, web.error, tls.output));
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
    assert!(client.next().await.is_none());
    assert_eq!(web.input.recv().await, None);
}

#[tokio::test]
async fn the_number_of_ports_is_bounded_by_the_channels() {
    for (count, encoding, fits) in [
        (0, Encoding::Binary, false),
        (127, Encoding::Binary, true),
        (128, Encoding::Binary, false),
        (39, Encoding::Base64, true),
        (40, Encoding::Base64, false),
    ] {
        let (near, far) = duplex(64 * 1024);
        let client = tokio::spawn(async move {
            let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            let mut seen = 0;
            while let Some(Ok(Message::Binary(_) | Message::Text(_))) = client.next().await {
                seen += 1;
            }
            seen
        });
        let forwards = forward_v4(far, vec![80; count], encoding, LIMITS).await;
        assert_eq!(forwards.is_ok(), fits, "{count} {encoding:?}");
        drop(forwards);
        assert_eq!(client.await.unwrap(), if fits { 2 * count } else { 0 });
    }
}
