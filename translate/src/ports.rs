//! Host ports.

use std::net::IpAddr;

use bollard_stubs::models::PortBinding;

use crate::{Invalid, sandbox::Published};

/// Checks mappings that something other than the Engine is going to publish.
pub fn check(mappings: &[cri::PortMapping]) -> Result<(), Invalid> {
    mappings
        .iter()
        .enumerate()
        .try_for_each(|(index, mapping)| read(index, mapping).map(drop))
}

/// The Engine's port bindings, and the ports that the container exposes. A mapping without a host port
/// publishes nothing.
pub fn publish(mappings: &[cri::PortMapping]) -> Result<(Published, Vec<String>), Invalid> {
    let mut published = Published::new();
    let mut exposed = Vec::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let (port, binding) = read(index, mapping)?;
        if !exposed.contains(&port) {
            exposed.push(port.clone());
        }
        if let Some(binding) = binding {
            published
                .entry(port)
                .or_default()
                .get_or_insert_default()
                .push(binding);
        }
    }
    Ok((published, exposed))
}

fn read(index: usize, mapping: &cri::PortMapping) -> Result<(String, Option<PortBinding>), Invalid> {
    let field = |name: &str| format!("config.port_mappings[{index}].{name}");
    let port = |value: i32, least: i32, name: &str| {
        if (least..=65535).contains(&value) {
            Ok(value)
        } else {
            Err(Invalid::new(
                field(name),
                format!("{value} is not between {least} and 65535"),
            ))
        }
    };
    let container = port(mapping.container_port, 1, "container_port")?;
    let host = port(mapping.host_port, 0, "host_port")?;
    let protocol = match cri::Protocol::try_from(mapping.protocol) {
        Ok(cri::Protocol::Tcp) => "tcp",
        Ok(cri::Protocol::Udp) => "udp",
        Ok(cri::Protocol::Sctp) => "sctp",
        Err(_) => {
            return Err(Invalid::new(
                field("protocol"),
                format!("{} is not TCP, UDP or SCTP", mapping.protocol),
            ));
        }
    };
    if !mapping.host_ip.is_empty() && mapping.host_ip.parse::<IpAddr>().is_err() {
        return Err(Invalid::new(
            field("host_ip"),
            format!("{:?} is not an IP address", mapping.host_ip),
        ));
    }
    let binding = (host != 0).then(|| PortBinding {
        host_ip: (!mapping.host_ip.is_empty()).then(|| mapping.host_ip.clone()),
        host_port: Some(host.to_string()),
    });
    Ok((format!("{container}/{protocol}"), binding))
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
        let (published, exposed) = publish(&[
            mapping(80, 8080, cri::Protocol::Tcp, "127.0.0.1"),
            mapping(80, 8081, cri::Protocol::Tcp, ""),
            mapping(53, 0, cri::Protocol::Udp, ""),
        ])
        .unwrap();
        assert_eq!(exposed, ["80/tcp", "53/udp"]);
        let binding = |ip: Option<&str>, port: &str| PortBinding {
            host_ip: ip.map(Into::into),
            host_port: Some(port.into()),
        };
        assert_eq!(
            published["80/tcp"],
            Some(vec![binding(Some("127.0.0.1"), "8080"), binding(None, "8081")])
        );
        assert_eq!(published.len(), 1);
    }

    #[test]
    fn impossible_ports_are_refused_by_field() {
        for (mapping, field) in [
            (mapping(0, 80, cri::Protocol::Tcp, ""), "container_port"),
            (mapping(65536, 80, cri::Protocol::Tcp, ""), "container_port"),
            (mapping(80, -1, cri::Protocol::Tcp, ""), "host_port"),
            (mapping(80, 80, cri::Protocol::Tcp, "localhost"), "host_ip"),
            (
                cri::PortMapping {
                    protocol: 9,
                    container_port: 1,
                    ..Default::default()
                },
                "protocol",
            ),
        ] {
            let error = check(std::slice::from_ref(&mapping)).unwrap_err();
            assert_eq!(error.field, format!("config.port_mappings[0].{field}"));
        }
    }
}
