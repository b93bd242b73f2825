//! Capability arguments: what the runtime knows of a pod and a plugin may declare to want.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::{Fields, bandwidth::Bandwidth, raw};
pub use crate::ports::Protocol;
use crate::{Invalid, ports};

/// What a pod has to offer to plugins; empty parts are not offered.
///
/// Names and forms of the values are those of CNI's CONVENTIONS.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capabilities {
    /// `portMappings`.
    pub port_mappings: Vec<PortMapping>,
    /// `bandwidth`.
    pub bandwidth: Option<Bandwidth>,
    /// `ipRanges`: one subnet per address family, the pod's address is one of each.
    pub ip_ranges: Vec<Cidr>,
    /// `dns`.
    pub dns: Dns,
    /// `aliases`: further names of the pod.
    pub aliases: Vec<String>,
    /// `ips`: addresses that the pod asks for, with or without a prefix length.
    pub ips: Vec<String>,
    /// `mac`.
    pub mac: Option<String>,
    /// `infinibandGUID`.
    pub infiniband_guid: Option<String>,
    /// `deviceID`.
    pub device_id: Option<String>,
    /// `cgroupPath`.
    pub cgroup_path: Option<String>,
    /// `io.kubernetes.cri.pod-annotations`, which containerd introduced.
    pub pod_annotations: BTreeMap<String, String>,
}

/// A port of the node that leads to a port of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The node's port, not 0.
    pub host_port: u16,
    /// The pod's port, not 0.
    pub container_port: u16,
    /// The transport.
    pub protocol: Protocol,
    /// The node's address to listen on; `None` is every address.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// Resolver settings, in the field names of the `dns` capability.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// A subnet such as `10.1.0.0/24`, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cidr(String);

impl Cidr {
    /// Reads a comma-separated list of subnets: a dual-stack node has two.
    ///
    /// # Errors
    ///
    /// Names `field` and the part that is not a subnet.
    pub fn parse_list(field: &str, text: &str) -> Result<Vec<Self>, Invalid> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                address_and_prefix(part)
                    .map(|_| Self(part.to_owned()))
                    .ok_or_else(|| {
                        Invalid::new(field, format!("{part:?} is not a subnet such as 10.1.0.0/24"))
                    })
            })
            .collect()
    }

    /// The subnet's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Splits `address/prefix`, both checked.
pub(super) fn address_and_prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
}

impl PortMapping {
    /// The mappings of a `PodSandboxConfig` that ask for a port of the node.
    ///
    /// # Errors
    ///
    /// Names the field whose value is absurd.
    pub fn from_cri(mappings: &[cri::PortMapping]) -> Result<Vec<Self>, Invalid> {
        let to_the_node = |mapping: ports::Checked| {
            Some(Self {
                host_port: mapping.host?,
                container_port: mapping.container,
                protocol: mapping.protocol,
                host_ip: mapping.host_ip,
            })
        };
        Ok(ports::read(mappings)?
            .into_iter()
            .filter_map(to_the_node)
            .collect())
    }
}

impl Capabilities {
    /// What is offered, by capability.
    pub fn to_fields(&self) -> Fields {
        #[derive(Serialize)]
        struct Range<'a> {
            subnet: &'a Cidr,
        }
        let mut fields = Fields::new();
        let mut offer = |name: &str, is_empty: bool, value: &dyn Fn() -> Box<serde_json::value::RawValue>| {
            if !is_empty {
                fields.insert(name.to_owned(), value());
            }
        };
        offer("portMappings", self.port_mappings.is_empty(), &|| {
            raw(&self.port_mappings)
        });
        offer("bandwidth", self.bandwidth.is_none(), &|| raw(&self.bandwidth));
        // One set of ranges per subnet: the pod gets an address of every set.
        offer("ipRanges", self.ip_ranges.is_empty(), &|| {
            raw(&self
                .ip_ranges
                .iter()
                .map(|subnet| [Range { subnet }])
                .collect::<Vec<_>>())
        });
        offer("dns", self.dns == Dns::default(), &|| raw(&self.dns));
        offer("aliases", self.aliases.is_empty(), &|| raw(&self.aliases));
        offer("ips", self.ips.is_empty(), &|| raw(&self.ips));
        offer("mac", self.mac.is_none(), &|| raw(&self.mac));
        offer("infinibandGUID", self.infiniband_guid.is_none(), &|| {
            raw(&self.infiniband_guid)
        });
        offer("deviceID", self.device_id.is_none(), &|| raw(&self.device_id));
        offer("cgroupPath", self.cgroup_path.is_none(), &|| {
            raw(&self.cgroup_path)
        });
        offer(
            "io.kubernetes.cri.pod-annotations",
            self.pod_annotations.is_empty(),
            &|| raw(&self.pod_annotations),
        );
        fields
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mapping(host_port: i32, container_port: i32, protocol: i32, host_ip: &str) -> cri::PortMapping {
        cri::PortMapping {
            protocol,
            container_port,
            host_port,
            host_ip: host_ip.to_owned(),
        }
    }

    #[test]
    fn ports_that_ask_for_the_node_are_mapped() {
        let mappings = PortMapping::from_cri(&[
            mapping(0, 80, 0, ""),
            mapping(8080, 80, 0, ""),
            mapping(53, 5353, 1, "127.0.0.1"),
            mapping(9, 9, 2, "::1"),
        ]);
        assert_eq!(
            serde_json::to_string(&mappings.unwrap()).unwrap(),
            concat!(
                r#"[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},"#,
                r#"{"hostPort":53,"containerPort":5353,"protocol":"udp","hostIP":"127.0.0.1"},"#,
                r#"{"hostPort":9,"containerPort":9,"protocol":"sctp","hostIP":"::1"}]"#
            )
        );
        for (wrong, expected) in [
            (
                mapping(70_000, 80, 0, ""),
                "config.port_mappings[0].host_port: 70000 is not between 0 and 65535",
            ),
            (
                mapping(-1, 80, 0, ""),
                "config.port_mappings[0].host_port: -1 is not between 0 and 65535",
            ),
            (
                mapping(80, 0, 0, ""),
                "config.port_mappings[0].container_port: 0 is not between 1 and 65535",
            ),
            (
                mapping(80, 80, 9, ""),
                "config.port_mappings[0].protocol: 9 is not TCP, UDP or SCTP",
            ),
            (
                mapping(80, 80, 0, "here"),
                "config.port_mappings[0].host_ip: \"here\" is not an IP address",
            ),
        ] {
            assert_eq!(PortMapping::from_cri(&[wrong]).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn everything_offered_has_its_conventional_form() {
        assert!(Capabilities::default().to_fields().is_empty());
        let all = Capabilities {
            ip_ranges: Cidr::parse_list("cidr", "10.1.0.0/24, fd00::/64").unwrap(),
            dns: Dns {
                servers: vec!["10.0.0.10".to_owned()],
                ..Dns::default()
            },
            aliases: vec!["web".to_owned()],
            ips: vec!["10.1.0.9/24".to_owned()],
            mac: Some("02:00:00:00:00:01".to_owned()),
            device_id: Some("0000:00:1f.6".to_owned()),
            cgroup_path: Some("/kubepods/x".to_owned()),
            ..Capabilities::default()
        };
        assert_eq!(
            serde_json::to_string(&all.to_fields()).unwrap(),
            concat!(
                r#"{"aliases":["web"],"cgroupPath":"/kubepods/x","deviceID":"0000:00:1f.6","#,
                r#""dns":{"servers":["10.0.0.10"]},"#,
                r#""ipRanges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]],"#,
                r#""ips":["10.1.0.9/24"],"mac":"02:00:00:00:00:01"}"#
            )
        );
    }

    #[test]
    fn subnets_are_checked() {
        assert_eq!(Cidr::parse_list("f", "").unwrap(), []);
        for text in ["10.1.0.0", "10.1.0.0/33", "x/8", "fd00::/129", "10.1.0.0/24,x"] {
            assert!(Cidr::parse_list("f", text).is_err(), "{text}");
        }
    }
}
