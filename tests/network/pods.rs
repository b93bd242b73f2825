//! Pods on a CNI network, and on the node's.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use support::container_of;

use super::{
    net::{PAGE, addresses, bridge, http, prefix6, remove, set_network, stop, web},
    traces::{Traces, no_traces},
};

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_reached_and_reach_each_other() {
    let daemon = support::daemon!().start().await;
    let (server, client) = (daemon.pod("server"), daemon.pod("client"));
    let serving = daemon.run_pod(&server).await;
    let ip = addresses(&daemon, &serving).await.remove(0);
    let id = web(&daemon, &serving, &server).await;
    assert!(http(SocketAddr::new(ip.parse().unwrap(), 80)).contains(PAGE));
    let inside = daemon.sh(&id, "ip -o -4 addr show eth0").await;
    assert!(inside.contains(&format!(" {ip}/24 ")), "{inside}");

    let asking = daemon.run_pod(&client).await;
    let image = daemon.pull("busybox:1").await;
    let shell = container_of(&client, "shell", &image, &["sleep", "1000"]);
    let shell = daemon.run_container(&asking, &client, &shell).await;
    assert_eq!(
        daemon.sh(&shell, &format!("wget -q -O - http://{ip}/")).await,
        PAGE
    );
    assert_ne!(addresses(&daemon, &asking).await, std::slice::from_ref(&ip));
    assert_eq!(daemon.sh(&shell, "hostname").await, "client");
    let own = daemon
        .sh(&shell, "wget -q -O - http://127.0.0.1/ || echo none")
        .await;
    assert_eq!(own, "none", "the other pod's server is not in this one");

    // The network goes when the sandbox stops; the rest when it is removed.
    stop(&daemon, &serving).await;
    let traces = Traces::of(&daemon);
    assert_eq!(
        [
            traces.pins.len(),
            traces.cached.len(),
            traces.leases.len(),
            traces.veths.len()
        ],
        [1; 4]
    );
    assert_eq!(traces.containers.len(), 4);
    assert!(
        addresses(&daemon, &serving).await.is_empty(),
        "the address may be another pod's by now"
    );
    stop(&daemon, &serving).await;
    remove(&daemon, &serving).await;
    remove(&daemon, &serving).await;
    // One that runs is removed as well.
    remove(&daemon, &asking).await;
    no_traces(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_an_address_of_each_family() {
    let daemon = support::daemon!().network(json!(null)).start().await;
    let mut plugin = bridge(&daemon);
    let ranges = [
        [json!({ "subnet": daemon.subnet() })],
        [json!({ "subnet": format!("{}:/112", prefix6(&daemon)) })],
    ];
    plugin["ipam"]["ranges"] = json!(ranges);
    set_network(&daemon, &[plugin]).await;
    let pod = daemon.pod("dual");
    let sandbox = daemon.run_pod(&pod).await;
    let ips = addresses(&daemon, &sandbox).await;
    let families: Vec<bool> = ips
        .iter()
        .map(|ip| ip.parse::<IpAddr>().unwrap().is_ipv4())
        .collect();
    assert_eq!(families, [true, false], "{ips:?}");
    let id = web(&daemon, &sandbox, &pod).await;
    let inside = daemon
        .sh(&id, "ip -o addr show eth0; netstat -ltn; ip -6 route")
        .await;
    eprintln!("{inside}");
    for ip in &ips {
        assert!(inside.contains(&format!(" {ip}/")), "{ip} in {inside}");
        assert!(http(SocketAddr::new(ip.parse().unwrap(), 80)).contains(PAGE));
    }
    remove(&daemon, &sandbox).await;
    no_traces(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_the_nodes_network_has_no_address_of_its_own() {
    let daemon = support::daemon!().start().await;
    // Makes the bridge, which is the node's.
    let other = daemon.run_pod(&daemon.pod("other")).await;
    let mut pod = daemon.pod("host");
    let linux = pod.linux.as_mut().unwrap();
    let context = linux.security_context.as_mut().unwrap();
    context.namespace_options.as_mut().unwrap().network = cri::NamespaceMode::Node.into();
    let before = Traces::of(&daemon);
    let sandbox = daemon.run_pod(&pod).await;
    assert_eq!(addresses(&daemon, &sandbox).await, [""; 0]);
    let after = Traces::of(&daemon);
    assert_eq!((after.pins, after.cached), (before.pins, before.cached));
    let image = daemon.pull("busybox:1").await;
    let mut shell = container_of(&pod, "shell", &image, &["sleep", "1000"]);
    let context = shell.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    context.namespace_options.as_mut().unwrap().network = cri::NamespaceMode::Node.into();
    let id = daemon.run_container(&sandbox, &pod, &shell).await;
    let inside = daemon.sh(&id, "ls /sys/class/net").await;
    assert!(
        inside.split_whitespace().any(|name| name == daemon.bridge()),
        "{inside}"
    );
    for sandbox in [sandbox, other] {
        remove(&daemon, &sandbox).await;
    }
    no_traces(&daemon);
}
