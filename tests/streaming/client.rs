//! A WebSocket client of the remote command and port-forward protocols.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Bytes, Message, client::IntoClientRequest},
};

pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const RESIZE: u8 = 4;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that has channels.
pub(crate) struct Client {
    socket: WebSocketStream<Stream>,
}

/// All that came until the end.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) error: Vec<u8>,
}

impl Ended {
    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&self.error).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The exit code of a command that has ended, 0 for success.
    pub(crate) fn code(&self) -> i32 {
        let status = self.status();
        if status["status"] == "Success" {
            return 0;
        }
        assert_eq!(status["reason"], "NonZeroExitCode", "{status}");
        let code = &status["details"]["causes"][0]["message"];
        code.as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Where a URL leads, and its path.
pub(crate) fn address(url: &str) -> (&str, &str) {
    let (_, rest) = url.split_once("://").expect("an absolute URL");
    rest.split_at(rest.find('/').unwrap())
}

/// A connection, with TLS or without.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
pub(crate) type Stream = Box<dyn Io>;

/// The certificate that servers of these tests have.
pub(crate) const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/streaming/tls/cert.pem");

/// Connects to where a URL leads. TLS trusts [`CERTIFICATE`] alone.
pub(crate) async fn connect(url: &str) -> Stream {
    let (host, _) = address(url);
    let stream = TcpStream::connect(host).await.unwrap();
    stream.set_nodelay(true).unwrap();
    if !url.starts_with("https:") {
        return Box::new(stream);
    }
    let config = support::trusting(&std::fs::read(CERTIFICATE).unwrap());
    let name = ServerName::try_from(host.rsplit_once(':').unwrap().0)
        .unwrap()
        .to_owned();
    let tls = TlsConnector::from(config).connect(name, stream).await;
    Box::new(tls.unwrap())
}

impl Client {
    pub(crate) async fn open(url: &str, protocol: &str) -> Self {
        let (host, path) = address(url);
        let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol.parse().unwrap());
        let stream = connect(url).await;
        let (socket, answer) = client_async(request, stream).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], protocol);
        Self { socket }
    }

    pub(crate) async fn send(&mut self, channel: u8, bytes: impl AsRef<[u8]>) {
        let message = [&[channel], bytes.as_ref()].concat();
        self.socket.send(Message::binary(message)).await.unwrap();
    }

    /// Ends a channel, which v5 can.
    pub(crate) async fn end(&mut self, channel: u8) {
        self.send(0xff, [channel]).await;
    }

    /// The next piece, empty ones too; `None` after the end.
    pub(crate) async fn receive(&mut self) -> Option<(u8, Bytes)> {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("nothing comes")?;
            match message {
                Ok(Message::Binary(bytes)) => return Some((bytes[0], bytes.slice(1..))),
                Ok(Message::Close(_)) => return None,
                Ok(_) => {}
                Err(error) => panic!("the connection broke: {error}"),
            }
        }
    }

    /// Reads until `channel` has said `text`.
    pub(crate) async fn expect(&mut self, channel: u8, text: &str) {
        let mut said = String::new();
        while !said.contains(text) {
            let piece = self.receive().await;
            let (on, bytes) = piece.unwrap_or_else(|| panic!("the end in the place of {text:?}: {said:?}"));
            if on == channel {
                said.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }

    /// Reads to the end.
    pub(crate) async fn ended(mut self) -> Ended {
        let mut all = Ended::default();
        while let Some((channel, bytes)) = self.receive().await {
            match channel {
                STDOUT => all.stdout.extend_from_slice(&bytes),
                STDERR => all.stderr.extend_from_slice(&bytes),
                ERROR => all.error.extend_from_slice(&bytes),
                other => panic!("channel {other}: {bytes:?}"),
            }
        }
        all
    }
}
