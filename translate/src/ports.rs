//! Host ports.

use std::{collections::HashMap, fmt, net::IpAddr};

use bollard_stubs::models::PortBinding;
use serde::Serialize;

use crate::Invalid;

/// Ports of the Engine's: `80/tcp` and where it is published on the host.
pub type Published = HashMap<String, Option<Vec<PortBinding>>>;

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the protocols' own names")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port mapping whose every value is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// What it speaks.
    pub protocol: Protocol,
    /// The port in the pod.
    pub container: u16,
    /// The port of the node; `None` publishes nothing.
    pub host: Option<u16>,
    /// The node's address; `None` is all of them.
    pub host_ip: Option<IpAddr>,
}

impl Checked {
    /// What a mapping asks for that a pod on the node's network does not get, for the log: there the
    /// ports are the node's, and only as they are.
    pub fn off_the_node(&self) -> Option<String> {
        let host = self.host.filter(|host| *host != self.container)?;
        Some(format!(
            "port {}/{}: not published as {host}, the pod is on the node's network",
            self.container, self.protocol
        ))
    }
}

/// Reads the port mappings of a sandbox's configuration, in their order.
///
/// # Errors
///
/// Names the field whose value is absurd.
pub fn read(mappings: &[cri::PortMapping]) -> Result<Vec<Checked>, Invalid> {
    let one = |(index, mapping)| {
        one(mapping).map_err(|error| error.within(&format!("config.port_mappings[{index}]")))
    };
    mappings.iter().enumerate().map(one).collect()
}

fn one(mapping: &cri::PortMapping) -> Result<Checked, Invalid> {
    let port = |value: i32, least: u16, field: &str| match u16::try_from(value) {
        Ok(port) if port >= least => Ok(port),
        _ => {
            let why = format!("{value} is not between {least} and {}", u16::MAX);
            Err(Invalid::new(field, why))
        }
    };
    let protocol = match cri::Protocol::try_from(mapping.protocol) {
        Ok(cri::Protocol::Tcp) => Protocol::Tcp,
        Ok(cri::Protocol::Udp) => Protocol::Udp,
        Ok(cri::Protocol::Sctp) => Protocol::Sctp,
        Err(_) => {
            let why = format!("{} is not TCP, UDP or SCTP", mapping.protocol);
            return Err(Invalid::new("protocol", why));
        }
    };
    let host_ip = match mapping.host_ip.as_str() {
        "" => None,
        text => {
            let ip = text.parse();
            Some(ip.map_err(|_| Invalid::new("host_ip", format!("{text:?} is not an IP address")))?)
        }
    };
    Ok(Checked {
        protocol,
        container: port(mapping.container_port, 1, "container_port")?,
        host: Some(port(mapping.host_port, 0, "host_port")?).filter(|port| *port != 0),
        host_ip,
    })
}

/// The Engine's port bindings, and the ports that the container exposes. A mapping without a host port
/// publishes nothing.
pub fn publish(mappings: &[Checked]) -> (Published, Vec<String>) {
    let mut published = Published::new();
    let mut exposed = Vec::new();
    for mapping in mappings {
        let port = format!("{}/{}", mapping.container, mapping.protocol);
        if !exposed.contains(&port) {
            exposed.push(port.clone());
        }
        if let Some(host) = mapping.host {
            let bindings = published.entry(port).or_default().get_or_insert_default();
            bindings.push(PortBinding {
                host_ip: mapping.host_ip.map(|ip| ip.to_string()),
                host_port: Some(host.to_string()),
            });
        }
    }
    (published, exposed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mapping(
        container_port: i32,
        host_port: i32,
        protocol: cri::Protocol,
        host_ip: &str,
    ) -> cri::PortMapping {
        cri::PortMapping {
            protocol: protocol.into(),
            container_port,
            host_port,
            host_ip: host_ip.into(),
        }
    }

    #[test]
    fn host_ports_are_bound_and_others_only_exposed() {
        let mappings = read(&[
            mapping(80, 8080, cri::Protocol::Tcp, "127.0.0.1"),
            mapping(80, 8081, cri::Protocol::Tcp, ""),
            mapping(53, 0, cri::Protocol::Udp, ""),
            mapping(65535, 65535, cri::Protocol::Sctp, "::1"),
        ]);
        let (published, exposed) = publish(&mappings.unwrap());
        assert_eq!(exposed, ["80/tcp", "53/udp", "65535/sctp"]);
        let binding = |ip: Option<&str>, port: &str| PortBinding {
            host_ip: ip.map(Into::into),
            host_port: Some(port.into()),
        };
        assert_eq!(
            published["80/tcp"],
            Some(vec![binding(Some("127.0.0.1"), "8080"), binding(None, "8081")])
        );
        assert_eq!(published["65535/sctp"], Some(vec![binding(Some("::1"), "65535")]));
        assert_eq!(published.len(), 2);
    }

    #[test]
    fn impossible_ports_are_refused_by_field() {
        use cri::Protocol::Tcp;
        let fine = mapping(80, 8080, Tcp, "");
        let unknown = cri::PortMapping {
            protocol: 9,
            ..fine.clone()
        };
        for (mapping, field) in [
            (mapping(0, 80, Tcp, ""), "container_port"),
            (mapping(-1, 80, Tcp, ""), "container_port"),
            (mapping(65536, 80, Tcp, ""), "container_port"),
            (mapping(80, -1, Tcp, ""), "host_port"),
            (mapping(80, 65536, Tcp, ""), "host_port"),
            (mapping(80, 80, Tcp, "localhost"), "host_ip"),
            (unknown, "protocol"),
        ] {
            let error = read(&[fine.clone(), mapping]).unwrap_err();
            assert_eq!(error.field, format!("config.port_mappings[1].{field}"));
        }
    }

    #[test]
    fn on_the_nodes_network_only_the_same_port_is_had() {
        let caveat = |container, host| {
            let read = read(&[mapping(container, host, cri::Protocol::Tcp, "")]);
            read.unwrap()[0].off_the_node()
        };
        assert_eq!(caveat(80, 80), None);
        assert_eq!(caveat(80, 0), None);
        assert!(caveat(80, 8080).is_some_and(|text| text.contains("80/tcp: not published as 8080")));
    }
}
