//! A SPDY client of the remote command and port-forward protocols, as Go's clients behave.

use std::collections::HashMap;

use bytes::Bytes;
use dockside::streaming::spdy::{
    connection::{Connection, Event, Role},
    frame::{PIECE, Status},
    headers::Headers,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::client::{Ended, PATIENCE, Stream, address, connect};

/// A connection and what came on its streams.
pub(crate) struct Spdy {
    io: Stream,
    connection: Connection,
    accepted: Vec<u32>,
    /// Whether what comes is kept; all of it is counted.
    pub(crate) keeps: bool,
    pub(crate) count: usize,
    received: HashMap<u32, Vec<u8>>,
    finished: Vec<u32>,
    pub(crate) reset: Vec<u32>,
    /// Whether the server said that it wants no more.
    pub(crate) left: bool,
    /// Whether the connection has ended.
    pub(crate) closed: bool,
}

impl Spdy {
    /// Upgrades a connection to `url`.
    pub(crate) async fn open(url: &str, protocol: &str) -> Self {
        let (host, path) = address(url);
        let mut io = connect(url).await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
             X-Stream-Protocol-Version: {protocol}\r\n\r\n"
        );
        io.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, io.read_u8()).await.unwrap().unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(
            head.contains(&format!("x-stream-protocol-version: {protocol}\r\n")),
            "{head}"
        );
        Self {
            io,
            connection: Connection::new(Role::Client),
            accepted: Vec::new(),
            keeps: true,
            count: 0,
            received: HashMap::new(),
            finished: Vec::new(),
            reset: Vec::new(),
            left: false,
            closed: false,
        }
    }

    /// Opens a stream, and waits until it is accepted.
    pub(crate) async fn stream(&mut self, headers: &[(&str, &str)]) -> u32 {
        let id = self.connection.open(&Headers::new(headers)).unwrap();
        self.until(|spdy| spdy.accepted.contains(&id)).await;
        id
    }

    /// Opens the two streams of a forwarded connection: that of the error, half-closed at once, and that of the data.
    pub(crate) async fn dial(&mut self, port: u16, number: usize) -> (u32, u32) {
        let (port, number) = (port.to_string(), number.to_string());
        let headers = |kind| {
            [
                ("streamtype", kind),
                ("port", port.as_str()),
                ("requestid", number.as_str()),
            ]
        };
        let error = self.stream(&headers("error")).await;
        self.end(error).await;
        (error, self.stream(&headers("data")).await)
    }

    pub(crate) async fn send(&mut self, id: u32, bytes: impl Into<Bytes>) {
        assert!(self.connection.send(id, &bytes.into()), "stream {id} has ended");
        self.write().await;
    }

    /// Half-closes a stream.
    pub(crate) async fn end(&mut self, id: u32) {
        self.connection.finish(id);
        self.write().await;
    }

    pub(crate) async fn reset(&mut self, id: u32) {
        self.connection.reset(id, Status::Cancel);
        self.write().await;
    }

    async fn write(&mut self) {
        let written = timeout(PATIENCE, self.io.write_all_buf(self.connection.output())).await;
        // A server that has closed is seen by reading.
        let _ = written.expect("the server does not read");
    }

    /// Takes what comes until `done`, or the end of the connection.
    pub(crate) async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        timeout(PATIENCE, self.take(done))
            .await
            .expect("what was waited for does not come");
    }

    /// The same, as long as it takes.
    pub(crate) async fn take(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) && !self.closed {
            self.write().await;
            match self.connection.next_event().unwrap() {
                Some(event) => self.note(event),
                None => {
                    let input = self.connection.input();
                    input.reserve(2 * PIECE);
                    self.closed = !matches!(self.io.read_buf(input).await, Ok(1..));
                }
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Accepted(id) => self.accepted.push(id),
            Event::Data { id, bytes } => {
                assert!(self.accepted.contains(&id), "data before the reply");
                self.count += bytes.len();
                if self.keeps {
                    self.received.entry(id).or_default().extend_from_slice(&bytes);
                }
            }
            Event::Finished(id) => self.finished.push(id),
            Event::Reset(id) => self.reset.push(id),
            Event::Pong(_) => {}
            Event::GoAway => self.left = true,
            Event::Opened { id, .. } => panic!("the server opened stream {id}"),
        }
    }

    /// Whether the server has ended its half of a stream.
    pub(crate) fn has_ended(&self, id: u32) -> bool {
        self.finished.contains(&id) || self.reset.contains(&id)
    }

    /// What came on a stream so far.
    pub(crate) fn received(&self, id: u32) -> &[u8] {
        self.received.get(&id).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn text(&self, id: u32) -> String {
        String::from_utf8_lossy(self.received(id)).into_owned()
    }
}

/// A command's streams.
pub(crate) struct Remote {
    pub(crate) spdy: Spdy,
    pub(crate) error: u32,
    pub(crate) stdin: u32,
    pub(crate) stdout: u32,
    stderr: u32,
    pub(crate) resize: u32,
}

impl Remote {
    /// Opens the streams of these types, beside that of the error.
    pub(crate) async fn open(url: &str, kinds: &[&str]) -> Self {
        let mut spdy = Spdy::open(url, "v4.channel.k8s.io").await;
        let error = spdy.stream(&[("streamtype", "error")]).await;
        let mut ids = [0; 4];
        for (id, kind) in ids.iter_mut().zip(["stdin", "stdout", "stderr", "resize"]) {
            if kinds.contains(&kind) {
                *id = spdy.stream(&[("streamtype", kind)]).await;
            }
        }
        let [stdin, stdout, stderr, resize] = ids;
        Self {
            spdy,
            error,
            stdin,
            stdout,
            stderr,
            resize,
        }
    }

    /// Reads until stdout has said `text`.
    pub(crate) async fn expect(&mut self, text: &str) {
        let stdout = self.stdout;
        self.spdy.until(|spdy| spdy.text(stdout).contains(text)).await;
        assert!(
            self.spdy.text(stdout).contains(text),
            "the end in the place of {text:?}"
        );
    }

    /// Reads to the end.
    pub(crate) async fn ended(&mut self) -> Ended {
        self.spdy.until(|spdy| spdy.left).await;
        assert!(self.spdy.has_ended(self.error));
        let all = |id| self.spdy.received(id).to_vec();
        Ended {
            stdout: all(self.stdout),
            stderr: all(self.stderr),
            error: all(self.error),
        }
    }
}
