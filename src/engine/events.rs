//! What the Engine says of changes, as they happen.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{Method, body::Incoming};
use memchr::memchr;
use translate::answer::Event;

use super::{Engine, EngineError, raw, transport::Transport};

/// The events that change what CRI shows. Named one by one, so that the Engine itself leaves out the three of
/// each exec and those of health checks: a node with many exec probes costs nothing here.
const ACTIONS: [&str; 17] = [
    "create", "start", "die", "oom", "pause", "unpause", "rename", "update", "destroy", "commit", "pull",
    "tag", "untag", "delete", "import", "load", "prune",
];

/// Longer than any event: a container's labels are in it.
const LONGEST: usize = 16 << 20;

/// Events of containers and images, one JSON object a line. Dropping it ends the subscription.
pub struct EventStream {
    transport: Arc<Transport>,
    body: Incoming,
    read: BytesMut,
}

impl Engine {
    /// Events from `since` on (nanoseconds since the epoch). The Engine keeps the last 256 of all sorts, and
    /// may answer before it listens for this caller: so `since` is to lie a little in the past.
    pub async fn events(&self, since: i64) -> Result<EventStream, EngineError> {
        let filters = BTreeMap::from([
            ("type", ["container", "image"].as_slice()),
            ("event", ACTIONS.as_slice()),
        ]);
        let path = format!(
            "/events?since={}.{:09}&filters={}",
            since.div_euclid(1_000_000_000),
            since.rem_euclid(1_000_000_000),
            raw::filters(&filters)
        );
        let answer = self.stream(Method::GET, &path, None, ACTION);
        let response = raw::bounded(ACTION, self.timeout, answer).await?;
        Ok(EventStream {
            transport: Arc::clone(&self.transport),
            body: response.into_body(),
            read: BytesMut::new(),
        })
    }
}

const ACTION: &str = "follow the engine's events";

impl EventStream {
    /// The next event; `None` when the Engine has closed the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, EngineError> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            if self.read.len() > LONGEST {
                return Err(malformed("an event does not end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self
                    .read
                    .extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(self.transport.broken_off(ACTION, &error)),
            }
        }
    }

    /// An event that was read whole.
    fn take(&mut self) -> Result<Option<Event>, EngineError> {
        while let Some(end) = memchr(b'\n', &self.read) {
            let line: Bytes = self.read.split_to(end + 1).freeze();
            let line = line.trim_ascii();
            if !line.is_empty() {
                let event = serde_json::from_slice(line);
                return event.map(Some).map_err(|error| malformed(&error.to_string()));
            }
        }
        Ok(None)
    }
}

fn malformed(why: &str) -> EngineError {
    EngineError::Malformed {
        action: ACTION.into(),
        why: why.into(),
    }
}
