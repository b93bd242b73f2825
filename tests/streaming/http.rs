//! What stands before the streams: URLs, tokens, upgrades.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Node, client::address};

const SPDY: &str = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
const WEBSOCKET: &str = "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The head of the answer to a request, and the connection.
async fn ask(method: &str, url: &str, headers: &str) -> (String, TcpStream) {
    let (host, path) = address(url);
    let mut stream = TcpStream::connect(host).await.unwrap();
    // The kubelet replays its client's Host.
    let request = format!("{method} {path} HTTP/1.1\r\nHost: node.example\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(super::client::PATIENCE, stream.read_u8());
        head.push(byte.await.unwrap().unwrap());
    }
    (String::from_utf8(head).unwrap(), stream)
}

async fn head(method: &str, url: &str, headers: &str) -> String {
    ask(method, url, headers).await.0
}

fn is(head: &str, status: u16) {
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_answered_as_clients_want_it() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let url = async || node.exec(&id, "true", |_| {}).await;
    let versions = "X-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io, v3.channel.k8s.io\r\n";
    for method in ["GET", "POST"] {
        let answer = head(method, &url().await, &format!("{SPDY}{versions}")).await;
        is(&answer, 101);
        for line in [
            "connection: upgrade\r\n",
            "upgrade: spdy/3.1\r\n",
            "x-stream-protocol-version: v4.channel.k8s.io\r\n",
        ] {
            assert!(answer.to_lowercase().contains(line), "{answer}");
        }
    }
    let answer = head("GET", &url().await, WEBSOCKET).await;
    is(&answer, 101);
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    assert!(
        !answer.to_lowercase().contains("sec-websocket-protocol"),
        "none was offered: {answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_works_once_and_for_what_it_was_given_out() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let url = node.exec(&id, "true", |_| {}).await;
    is(&head("PUT", &url, WEBSOCKET).await, 405);
    is(&head("GET", &url, WEBSOCKET).await, 101);
    is(&head("GET", &url, WEBSOCKET).await, 404);
    let url = node.exec(&id, "true", |_| {}).await;
    is(
        &head("GET", &url.replace("/exec/", "/attach/"), WEBSOCKET).await,
        404,
    );
    let (host, path) = address(&url);
    assert!(path.len() - "/exec/".len() >= 22, "{path}: 128 bits at least");
    for path in ["/", "/exec", "/exec/", "/exec/AAAA", "/metrics"] {
        is(&head("GET", &format!("http://{host}{path}"), SPDY).await, 404);
    }
    assert!(!node.daemon.log().contains(&path["/exec/".len()..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_upgrade_is_refused_with_a_reason() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let url = async || node.exec(&id, "true", |_| {}).await;
    is(&head("GET", &url().await, "").await, 400);
    is(&head("GET", &url().await, SPDY).await, 400);
    is(
        &head("GET", &url().await, "Connection: Upgrade\r\nUpgrade: h2c\r\n").await,
        400,
    );
    let (answer, mut stream) = ask(
        "POST",
        &url().await,
        &format!("{SPDY}X-Stream-Protocol-Version: v9\r\nConnection: close\r\n"),
    )
    .await;
    is(&answer, 403);
    for version in ["v4.", "v3.", "v2.", ""] {
        let line = format!("x-accepted-stream-protocol-versions: {version}channel.k8s.io\r\n");
        assert!(answer.to_lowercase().contains(&line), "{answer}");
    }
    let mut text = vec![0; 20];
    stream.read_exact(&mut text).await.unwrap();
    assert!(text.starts_with(b"none of the protocol"));
    let unknown = format!("{WEBSOCKET}Sec-WebSocket-Protocol: chat\r\n");
    is(&head("GET", &url().await, &unknown).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_urls_are_refused() {
    let node = Node::new().await;
    let id = node.asleep().await;
    let runtime = node.daemon.runtime();
    let request = cri::ExecRequest {
        container_id: id,
        cmd: vec!["true".into()],
        stdout: true,
        ..Default::default()
    };
    let ask = || {
        let (mut runtime, request) = (runtime.clone(), request.clone());
        async move { runtime.exec(request).await }
    };
    // Many at a time: each is forgotten after a minute.
    for _ in 0..10 {
        for answer in futures_util::future::join_all((0..100).map(|_| ask())).await {
            answer.unwrap();
        }
    }
    let error = ask().await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted, "{error}");
}
