//! WebSocket: what the client libraries of Python and JavaScript speak, and `crictl --transport websocket`.
//!
//! The handshake is over when these get the connection; [`accept_key`] and the negotiations are for it.

pub mod channels;
mod forward;
mod link;
mod remote;
mod tunnel;

pub use channels::Encoding;
pub use forward::forward_v4;
pub use remote::remote;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
pub use tunnel::{Tunnel, tunnel};

use super::protocol::{RemoteProtocol, offered};

/// What this server speaks for exec and attach.
pub const REMOTE_PROTOCOLS: [&str; 5] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];

/// What this server speaks for port-forward.
pub const FORWARD_PROTOCOLS: [&str; 3] = [
    "SPDY/3.1+portforward.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
];

/// What exec and attach speak on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteSubprotocol {
    /// What is told at the end, and whether the client can close stdin.
    pub version: RemoteProtocol,
    /// How messages are written.
    pub encoding: Encoding,
    /// What `Sec-WebSocket-Protocol` answers; `None` answers no such header.
    pub name: Option<&'static str>,
}

/// The subprotocol for exec and attach: the first known one in the values of the client's `Sec-WebSocket-Protocol`.
///
/// A client that offers none gets version 1, as ever; one that offers only unknown ones gets `None`.
pub fn negotiate_remote(offers: &[&str]) -> Option<RemoteSubprotocol> {
    let mut offers = offered(offers).peekable();
    if offers.peek().is_none() {
        return Some(RemoteSubprotocol {
            version: RemoteProtocol::V1,
            encoding: Encoding::Binary,
            name: None,
        });
    }
    offers.find_map(|offer| {
        let name = REMOTE_PROTOCOLS.into_iter().find(|name| *name == offer)?;
        let (version, encoding) = match name {
            "v5.channel.k8s.io" => (RemoteProtocol::V5, Encoding::Binary),
            "v4.channel.k8s.io" => (RemoteProtocol::V4, Encoding::Binary),
            "v4.base64.channel.k8s.io" => (RemoteProtocol::V4, Encoding::Base64),
            "base64.channel.k8s.io" => (RemoteProtocol::V1, Encoding::Base64),
            _ => (RemoteProtocol::V1, Encoding::Binary),
        };
        Some(RemoteSubprotocol {
            version,
            encoding,
            name: Some(name),
        })
    })
}

/// What port-forward speaks on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardSubprotocol {
    /// Two channels per port: [`forward_v4`].
    Channels(Encoding),
    /// SPDY within binary messages: [`tunnel`], and on it [`super::spdy::forward`].
    Tunnel,
}

impl ForwardSubprotocol {
    /// What `Sec-WebSocket-Protocol` answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "SPDY/3.1+portforward.k8s.io",
            Self::Channels(Encoding::Binary) => "v4.channel.k8s.io",
            Self::Channels(Encoding::Base64) => "v4.base64.channel.k8s.io",
        }
    }
}

/// The subprotocol for port-forward: the first known one in the values of the client's `Sec-WebSocket-Protocol`.
pub fn negotiate_forward(offers: &[&str]) -> Option<ForwardSubprotocol> {
    let known = [
        ForwardSubprotocol::Tunnel,
        ForwardSubprotocol::Channels(Encoding::Binary),
        ForwardSubprotocol::Channels(Encoding::Base64),
    ];
    offered(offers).find_map(|offer| known.into_iter().find(|protocol| protocol.name() == offer))
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_clients_first_known_subprotocol_is_taken() {
        let chosen = |offers: &[&str]| negotiate_remote(offers).map(|it| (it.version, it.encoding, it.name));
        let (binary, base64) = (Encoding::Binary, Encoding::Base64);
        assert_eq!(chosen(&[]), Some((RemoteProtocol::V1, binary, None)));
        assert_eq!(chosen(&["v9.channel.k8s.io"]), None);
        let mixed = ["v9.channel.k8s.io, v4.base64.channel.k8s.io", "v5.channel.k8s.io"];
        assert_eq!(
            chosen(&mixed),
            Some((RemoteProtocol::V4, base64, Some("v4.base64.channel.k8s.io")))
        );
        for name in REMOTE_PROTOCOLS {
            let protocol = negotiate_remote(&[name]).unwrap();
            assert_eq!(protocol.name, Some(name));
            assert_eq!(protocol.encoding == base64, name.contains("base64"));
            assert_eq!(protocol.version.name(), name.replace("base64.", ""));
        }
    }

    #[test]
    fn port_forwards_go_over_channels_or_through_a_tunnel() {
        for name in FORWARD_PROTOCOLS {
            assert_eq!(
                negotiate_forward(&["portforward.k8s.io", name]).unwrap().name(),
                name
            );
        }
        assert_eq!(negotiate_forward(&[]), None);
    }

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn the_accept_key_is_that_of_the_specification() {
        assert_eq!(
            accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
