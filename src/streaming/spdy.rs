//! SPDY/3.1, the protocol of every `kubectl exec`, `attach` and `port-forward` that comes through a kubelet.
//!
//! [`frame`], [`headers`] and [`connection`] know no socket; [`remote`](remote()) and [`forward`](forward()) drive one.

pub mod connection;
mod dictionary;
mod forward;
pub mod frame;
pub mod headers;
mod link;
mod remote;
#[cfg(test)]
pub(in crate::streaming) mod testing;

pub use forward::forward;
pub use remote::remote;

use super::protocol::{RemoteProtocol, offered};

/// What this server speaks for exec and attach. Version 5 is not among them: all it changes is in WebSocket.
pub const REMOTE_PROTOCOLS: [&str; 4] = [
    RemoteProtocol::V4.name(),
    RemoteProtocol::V3.name(),
    RemoteProtocol::V2.name(),
    RemoteProtocol::V1.name(),
];

/// What this server speaks for port-forward.
pub const FORWARD_PROTOCOL: &str = "portforward.k8s.io";

/// The protocol for exec and attach: the first known one in the values of the client's `X-Stream-Protocol-Version`.
pub fn negotiate(offers: &[&str]) -> Option<RemoteProtocol> {
    let known = [
        RemoteProtocol::V4,
        RemoteProtocol::V3,
        RemoteProtocol::V2,
        RemoteProtocol::V1,
    ];
    offered(offers).find_map(|offer| known.into_iter().find(|protocol| protocol.name() == offer))
}

/// Whether [`FORWARD_PROTOCOL`] is among the values of the client's `X-Stream-Protocol-Version`.
pub fn negotiate_forward(offers: &[&str]) -> bool {
    offered(offers).any(|offer| offer == FORWARD_PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_first_known_protocol_is_taken() {
        let v4 = Some(RemoteProtocol::V4);
        let all = [
            "v5.channel.k8s.io",
            "v4.channel.k8s.io",
            "v3.channel.k8s.io",
            "channel.k8s.io",
        ];
        assert_eq!(negotiate(&all), v4);
        assert_eq!(
            negotiate(&["v5.channel.k8s.io, v4.channel.k8s.io,channel.k8s.io"]),
            v4
        );
        assert_eq!(
            negotiate(&["channel.k8s.io", "v4.channel.k8s.io"]),
            Some(RemoteProtocol::V1)
        );
        assert_eq!(negotiate(&["v5.channel.k8s.io"]), None);
        assert_eq!(negotiate(&[]), None);
        assert!(negotiate_forward(&["x, portforward.k8s.io"]));
        assert!(!negotiate_forward(&["v4.channel.k8s.io"]));
    }
}
