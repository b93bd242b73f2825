//! What the options' values are made of, with errors that say what was expected.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use hyper::http::uri::Authority;
use translate::{cni::capabilities::Cidr, image::ImageReference};

/// The Engine's socket: `unix:///path` or a path.
pub(super) fn engine_socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err(
            "expected unix:///path: pods need an Engine on this node, whose files and processes can be seen"
                .into(),
        )
    }
}

/// An image's name.
pub(super) fn image(text: &str) -> Result<String, String> {
    match ImageReference::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.why),
    }
}

/// A size as the Engine reads it; files of less than 10 kB would be rotated faster than they can be read.
pub(super) fn size(text: &str) -> Result<String, String> {
    let parse = || {
        let digits = text.trim_end_matches(['k', 'm', 'g']);
        let unit = match &text[digits.len()..] {
            "" => 1,
            "k" => 1000,
            "m" => 1_000_000,
            "g" => 1_000_000_000,
            _ => return None,
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .parse::<u64>()
            .ok()
            .filter(|_| plain)?
            .checked_mul(unit)
            .filter(|bytes| *bytes >= 10_000)
    };
    parse()
        .map(|_| text.to_owned())
        .ok_or_else(|| "expected a size of 10k or more, such as 64m".into())
}

/// An address and a port, of which either may be left out. Without an address, and as cri-dockerd's default,
/// which is empty, it is this node's own: what is served there needs no password.
pub(super) fn streaming_address(text: &str) -> Result<SocketAddr, String> {
    let alone = || {
        let address = text.trim_start_matches('[').trim_end_matches(']');
        let address = match address {
            "" | ":" | "localhost" => LOCAL,
            address => address.parse().ok()?,
        };
        Some(SocketAddr::new(address, 0))
    };
    address_and_port(text)
        .or_else(alone)
        .ok_or_else(|| "expected an address and a port such as 127.0.0.1:10010, or one of them".into())
}

/// An address and a port, or a port alone.
pub(super) fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    address_and_port(text)
        .ok_or_else(|| "expected an address and a port such as 127.0.0.1:9410, or a port".into())
}

/// The node's own address.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An address and a port, or a port of the node's own address.
fn address_and_port(text: &str) -> Option<SocketAddr> {
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':'));
    match port.unwrap_or(text).parse() {
        Ok(port) => Some(SocketAddr::new(LOCAL, port)),
        Err(_) => text.parse().ok(),
    }
}

/// The collector of traces, as the exporter wants it: with a scheme, and with a port, which is OTLP's unless told otherwise.
pub(super) fn collector(text: &str) -> Result<String, String> {
    let parse = || {
        let text = match text.split_once("://") {
            Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(_) => return None,
            None => text,
        };
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        // Nothing but a port may stand beside the host.
        let port = match text.strip_prefix(host)? {
            "" => 4317,
            rest => rest
                .strip_prefix(':')?
                .parse()
                .ok()
                .filter(|port: &u16| *port != 0)?,
        };
        (!host.is_empty()).then(|| format!("http://{host}:{port}"))
    };
    parse().ok_or_else(|| {
        "expected http://HOST:PORT of a collector that takes OTLP over gRPC without TLS, such as http://127.0.0.1:4317"
            .into()
    })
}

/// An address range such as `10.85.0.0/16`, or nothing, as cri-dockerd's default, which a unit file may spell out.
pub(super) fn cidr(text: &str) -> Result<String, String> {
    match Cidr::parse_list("--pod-cidr", text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(_) => Err("expected an address range such as 10.85.0.0/16".into()),
    }
}

/// Yes or no as Go's flags understand it.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_as_in_the_kubelet_or_by_a_url() {
        for (text, expected) in [
            ("localhost:4317", Some("http://localhost:4317")),
            ("http://127.0.0.1:4400", Some("http://127.0.0.1:4400")),
            ("http://collector.example/", Some("http://collector.example:4317")),
            ("[::1]:1", Some("http://[::1]:1")),
            ("", None),
            (":4317", None),
            ("a:", None),
            ("a:x", None),
            ("a:70000", None),
            ("user@a:4317", None),
            ("http://a:4317/v1/traces", None),
            ("grpc://a:4317", None),
            ("unix:///run/otel.sock", None),
        ] {
            assert_eq!(collector(text).ok().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn booleans_are_gos() {
        for (text, expected) in [
            ("1", Some(true)),
            ("t", Some(true)),
            ("True", Some(true)),
            ("TRUE", Some(true)),
            ("0", Some(false)),
            ("F", Some(false)),
            ("False", Some(false)),
            ("tRUE", None),
            ("yes", None),
            ("", None),
        ] {
            assert_eq!(boolean(text).ok(), expected, "{text:?}");
        }
    }
}
