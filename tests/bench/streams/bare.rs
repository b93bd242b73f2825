//! The same commands by the Engine API alone: on a kept connection, and one of its own for each command's streams.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::Env;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

pub(crate) struct Bare(SendRequest<Full<Bytes>>);

impl Bare {
    pub(crate) async fn connect() -> Self {
        let stream = UnixStream::connect(&Env::get().engine).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Runs a command in a container to its end; returns how many bytes it wrote, frames included, and its exit code.
    pub(crate) async fn exec(&mut self, container: &str, command: &[&str]) -> (usize, i64) {
        let body = json!({ "Cmd": command, "AttachStdout": true, "AttachStderr": true });
        let path = format!("/containers/{container}/exec");
        let exec = self.call(Method::POST, &path, body.to_string()).await;
        let exec = exec["Id"].as_str().unwrap().to_owned();
        let output = output(&exec).await;
        let state = self
            .call(Method::GET, &format!("/exec/{exec}/json"), String::new())
            .await;
        (output, state["ExitCode"].as_i64().unwrap())
    }

    async fn call(&mut self, method: Method, path: &str, body: String) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "docker")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }
}

/// Starts a command and reads its output to the end.
async fn output(exec: &str) -> usize {
    let mut stream = UnixStream::connect(&Env::get().engine).await.unwrap();
    let body = r#"{"Detach":false,"Tty":false}"#;
    let request = format!(
        "POST /exec/{exec}/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        String::from_utf8_lossy(&head)
    );
    let (mut buffer, mut count) = (vec![0; 64 * 1024], 0);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return count,
            read => count += read,
        }
    }
}
