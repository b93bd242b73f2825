//! What the SPDY and the WebSocket side have in common: versions, limits, and the words a session ends with.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::session::{Outcome, Streams};

/// The version of the remote command protocol, as the client and this server agreed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemoteProtocol {
    /// Text on the error stream, no resizing.
    V1,
    /// As version 1, but stdin stays open in both directions.
    V2,
    /// With resizing.
    V3,
    /// With a JSON `Status` on the error stream, hence exit codes.
    V4,
    /// As version 4, and the client can close its stdin. WebSocket only.
    V5,
}

impl RemoteProtocol {
    /// The name in `X-Stream-Protocol-Version` and, for binary frames, in `Sec-WebSocket-Protocol`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "channel.k8s.io",
            Self::V2 => "v2.channel.k8s.io",
            Self::V3 => "v3.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
        }
    }

    /// Whether the client tells the size of its terminal.
    pub(crate) fn resizes(self, streams: Streams) -> bool {
        streams.tty && self >= Self::V3
    }

    /// What is written to the error stream at the end; nothing where silence means success.
    pub(crate) fn verdict(self, outcome: &Outcome) -> Option<Bytes> {
        if self >= Self::V4 {
            return Some(Bytes::from(status(outcome)));
        }
        match outcome {
            Outcome::Success => None,
            Outcome::Exited(code) => Some(Bytes::from(exit_message(*code))),
            Outcome::Failed(message) => Some(Bytes::from(message.clone())),
        }
    }
}

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// To open the streams that belong together.
    pub creation: Duration,
    /// Without a single byte in either direction.
    pub idle: Duration,
}

impl Default for Limits {
    /// What containerd and CRI-O use: 30 seconds and 4 hours.
    fn default() -> Self {
        Self {
            creation: Duration::from_secs(30),
            idle: Duration::from_secs(4 * 60 * 60),
        }
    }
}

/// Why a connection ended before, or instead of, its session.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The client closed the connection.
    #[error("the client closed the connection")]
    Gone,
    /// The connection broke.
    #[error("the client's connection broke: {0}")]
    Broken(#[source] io::Error),
    /// The client broke SPDY's rules.
    #[error("the client does not speak SPDY/3.1: {0}")]
    Spdy(#[from] super::spdy::connection::ConnectionError),
    /// The client broke the rules of WebSocket.
    #[error("the client does not speak WebSocket: {0}")]
    WebSocket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// A WebSocket message made no sense.
    #[error("unreadable WebSocket message of the client: {0}")]
    Channel(#[from] super::websocket::channels::ChannelError),
    /// More ports than there are channel numbers.
    #[error("cannot forward {asked} ports over one WebSocket connection, which has channels for 1 to {most}")]
    Ports {
        /// How many were asked for.
        asked: usize,
        /// How many the encoding has room for.
        most: usize,
    },
    /// The streams that belong together were not all opened.
    #[error("the client opened only {opened} of {expected} streams within {} s", .limit.as_secs())]
    Incomplete {
        /// How many were opened.
        opened: usize,
        /// How many were wanted.
        expected: usize,
        /// The time it had.
        limit: Duration,
    },
    /// Nothing came or went for too long.
    #[error("nothing was sent or received for {} s", .0.as_secs())]
    Idle(Duration),
}

/// The protocols in repeated, comma-separated header values, in the order in which the client prefers them.
pub(crate) fn offered<'a>(values: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    values
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// The outcome of a session that nobody has said one of: whoever would have, ends with the server.
pub(crate) fn cut_off() -> Outcome {
    Outcome::Failed("the session was cut off: dockside has stopped on the node".to_owned())
}

fn exit_message(code: i32) -> String {
    format!("command terminated with non-zero exit code: exit status {code}")
}

/// The `metav1.Status` of an outcome: `kubectl` takes its own exit code from it.
fn status(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Success => json!({ "metadata": {}, "status": "Success" }),
        Outcome::Exited(code) => json!({
            "metadata": {},
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": exit_message(*code),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Outcome::Failed(message) => json!({
            "metadata": {},
            "status": "Failure",
            "reason": "InternalError",
            "message": message,
            "details": { "causes": [{ "message": message }] },
            "code": 500,
        }),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    fn parsed(outcome: &Outcome) -> Value {
        serde_json::from_slice(&RemoteProtocol::V4.verdict(outcome).unwrap()).unwrap()
    }

    #[test]
    fn version_four_says_how_it_ended_in_json() {
        assert_eq!(
            parsed(&Outcome::Success),
            json!({ "metadata": {}, "status": "Success" })
        );
        let exited = parsed(&Outcome::Exited(42));
        assert_eq!(exited["status"], "Failure");
        assert_eq!(exited["reason"], "NonZeroExitCode");
        assert_eq!(
            exited["details"]["causes"],
            json!([{ "reason": "ExitCode", "message": "42" }])
        );
        let failed = parsed(&Outcome::Failed("no \"such\" file".to_owned()));
        assert_eq!(failed["reason"], "InternalError");
        assert_eq!(failed["code"], 500);
        assert_eq!(failed["message"], "no \"such\" file");
    }

    #[test]
    fn older_versions_are_silent_on_success_and_tell_a_failure_as_text() {
        for protocol in [RemoteProtocol::V1, RemoteProtocol::V2, RemoteProtocol::V3] {
            assert_eq!(protocol.verdict(&Outcome::Success), None);
            assert_eq!(
                protocol.verdict(&Outcome::Failed("gone".to_owned())).unwrap(),
                "gone"
            );
            let text = protocol.verdict(&Outcome::Exited(3)).unwrap();
            assert!(text.ends_with(b"exit status 3"), "{text:?}");
        }
    }

    #[test]
    fn offers_are_read_from_repeated_and_from_comma_separated_headers() {
        let names: Vec<_> =
            offered(&["v5.channel.k8s.io, v4.channel.k8s.io", "", " ,channel.k8s.io"]).collect();
        assert_eq!(
            names,
            ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"]
        );
    }
}
