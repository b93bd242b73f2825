//! Host ports by the portmap plugin.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use cri::{PortMapping, Protocol};
use serde_json::json;

use super::{
    net::{PAGE, addresses, bridge, http, remove, set_network, stop, web},
    traces::{Traces, no_traces},
};

/// A port that nobody listens at, at this moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) fn mapping(protocol: Protocol, host_ip: &str, host_port: u16, container_port: i32) -> PortMapping {
    PortMapping {
        protocol: protocol.into(),
        container_port,
        host_port: host_port.into(),
        host_ip: host_ip.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_ports_lead_to_the_pod_until_it_stops() {
    let daemon = support::daemon!().network(json!(null)).start().await;
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true });
    set_network(&daemon, &[bridge(&daemon), portmap]).await;
    let mut pod = daemon.pod("ports");
    let port = free_port();
    pod.port_mappings = vec![
        mapping(Protocol::Tcp, "", port, 80),
        // What has no host port is only a note.
        mapping(Protocol::Tcp, "", 0, 81),
    ];
    let sandbox = daemon.run_pod(&pod).await;
    web(&daemon, &sandbox, &pod).await;
    // The bridge's address is one of the node's.
    let pod_ip: Ipv4Addr = addresses(&daemon, &sandbox).await[0].parse().unwrap();
    let [a, b, c, _] = pod_ip.octets();
    for host in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(a, b, c, 1)] {
        assert!(
            http(SocketAddr::new(IpAddr::V4(host), port)).contains(PAGE),
            "{host}"
        );
    }
    assert!(!Traces::of(&daemon).rules.is_empty());
    stop(&daemon, &sandbox).await;
    assert_eq!(Traces::of(&daemon).rules, Default::default());
    remove(&daemon, &sandbox).await;
    no_traces(&daemon);
}
