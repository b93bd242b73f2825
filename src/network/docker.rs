//! The embedded network: a bridge of the Engine's own, which needs nothing else on the node.

use std::net::IpAddr;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use translate::answer::ContainerInspect;

use crate::{engine::Engine, error::Result};

/// The Engine network's name, and its bridge's.
pub(super) const NAME: &str = "dockside";
const BRIDGE: &str = "dockside0";

/// Pods on a bridge network of the Engine.
#[derive(Debug, Clone)]
pub struct DockerNetwork {
    /// Address ranges, one per family; empty leaves the choice to the Engine.
    pub subnets: Vec<String>,
    /// The bridge's MTU; 0 leaves it to the Engine.
    pub mtu: u16,
}

impl DockerNetwork {
    /// Creates the network unless it is there.
    pub async fn ensure(&self, engine: &Engine) -> Result<()> {
        let mut options = vec![("com.docker.network.bridge.name".to_owned(), BRIDGE.to_owned())];
        if self.mtu != 0 {
            options.push(("com.docker.network.driver.mtu".into(), self.mtu.to_string()));
        }
        let ranges = |subnet: &String| IpamConfig {
            subnet: Some(subnet.clone()),
            ..IpamConfig::default()
        };
        let request = NetworkCreateRequest {
            name: NAME.into(),
            driver: Some("bridge".into()),
            options: Some(options.into_iter().collect()),
            enable_ipv6: Some(self.subnets.iter().any(|subnet| subnet.contains(':'))),
            ipam: (!self.subnets.is_empty()).then(|| Ipam {
                config: Some(self.subnets.iter().map(ranges).collect()),
                ..Ipam::default()
            }),
            labels: Some([("io.dockside.network".to_owned(), "pods".to_owned())].into()),
            ..NetworkCreateRequest::default()
        };
        Ok(engine.ensure_network(request).await?)
    }

    /// A pod's addresses, IPv4 first. Without plugins cri-dockerd leaves its pods on the Engine's default bridge, so it
    /// does not matter in which of the Engine's networks a pod is.
    pub fn addresses(inspect: &ContainerInspect) -> Vec<IpAddr> {
        let networks = &inspect.network_settings.networks;
        let Some(endpoint) = networks.get(NAME).or_else(|| networks.values().next()) else {
            return Vec::new();
        };
        let texts = [&endpoint.ip_address, &endpoint.global_ipv6_address];
        texts.into_iter().filter_map(|text| text.parse().ok()).collect()
    }
}
