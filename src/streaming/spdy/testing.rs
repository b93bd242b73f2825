//! A client for tests: the same codec in the other role.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use bytes::Bytes;
use tokio::io::DuplexStream;

use super::connection::{Event, Role};
use super::headers::Headers;
use super::link::Link;
use crate::streaming::testing::LIMITS;

pub(in crate::streaming) struct Client {
    pub(super) link: Link<DuplexStream>,
    received: HashMap<u32, Vec<u8>>,
    pub(in crate::streaming) finished: Vec<u32>,
    pub(in crate::streaming) reset: Vec<u32>,
    pub(in crate::streaming) left: bool,
    pub(in crate::streaming) pongs: Vec<u32>,
    accepted: Vec<u32>,
}

impl Client {
    pub(in crate::streaming) fn new(io: DuplexStream) -> Self {
        Self {
            link: Link::new(io, &[], Role::Client, LIMITS.idle),
            received: HashMap::new(),
            finished: Vec::new(),
            reset: Vec::new(),
            left: false,
            pongs: Vec::new(),
            accepted: Vec::new(),
        }
    }

    /// Opens a stream without waiting for the reply.
    pub(in crate::streaming) fn ask(&mut self, headers: &[(&str, &str)]) -> u32 {
        self.link.connection.open(&Headers::new(headers)).unwrap()
    }

    /// Opens a stream and waits for the reply, as Go's client does.
    pub(in crate::streaming) async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let id = self.ask(headers);
        self.until(|client| client.accepted.contains(&id)).await;
        id
    }

    pub(in crate::streaming) fn send(&mut self, id: u32, bytes: &'static [u8]) {
        assert!(self.link.connection.send(id, &Bytes::from_static(bytes)));
    }

    pub(in crate::streaming) fn text(&self, id: u32) -> &str {
        str::from_utf8(self.received.get(&id).map_or(&[], Vec::as_slice)).unwrap()
    }

    pub(in crate::streaming) fn length(&self, id: u32) -> usize {
        self.received.get(&id).map_or(0, Vec::len)
    }

    /// Takes events until `done`.
    pub(in crate::streaming) async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let event = self.link.next().await.unwrap();
            self.note(event);
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Accepted(id) => self.accepted.push(id),
            Event::Data { id, bytes } => {
                assert!(self.accepted.contains(&id), "data before the reply");
                self.received.entry(id).or_default().extend_from_slice(&bytes);
            }
            Event::Finished(id) => self.finished.push(id),
            Event::Reset(id) => self.reset.push(id),
            Event::Pong(id) => self.pongs.push(id),
            Event::GoAway => self.left = true,
            Event::Opened { id, .. } => panic!("the server opened stream {id}"),
        }
    }
}
