//! The CNI configuration is followed, and so is the node's address range.

use cri::{NetworkConfig, RuntimeConfig, UpdateRuntimeConfigRequest};
use serde_json::json;
use tonic::Code;

use super::{
    net::{
        addresses, bridge, condition, network_ready, prefix6, remove, sandboxes, set_network, try_run,
        write_network,
    },
    traces::no_traces,
};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_configuration_only_pods_on_the_nodes_network_run() {
    let daemon = support::daemon!().network(json!(null)).start().await;
    let directory = daemon.dir().join("cni");
    let missing = condition(&daemon, "NetworkReady").await;
    assert!(!missing.status && !missing.reason.is_empty(), "{missing:?}");
    assert!(
        missing.message.contains(directory.to_str().unwrap()),
        "{missing:?}"
    );
    assert!(condition(&daemon, "RuntimeReady").await.status);

    let error = try_run(&daemon, &daemon.pod("early")).await.unwrap_err();
    assert!(error.message().contains(directory.to_str().unwrap()), "{error}");
    no_traces(&daemon);
    let mut host = daemon.pod("host");
    let context = host.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    context.namespace_options.as_mut().unwrap().network = cri::NamespaceMode::Node.into();
    let host = daemon.run_pod(&host).await;

    write_network(&daemon, &[bridge(&daemon)]);
    network_ready(&daemon, true).await;
    let pod = daemon.run_pod(&daemon.pod("early")).await;

    // Broken by somebody: the node gets no more pods, and those that are there can go.
    let file = directory.join("10-test.conflist");
    std::fs::write(&file, "{\"cniVersion\": \"0.4.0\", \"name\":").unwrap();
    let broken = network_ready(&daemon, false).await;
    assert!(broken.message.contains("10-test.conflist"), "{broken:?}");
    try_run(&daemon, &daemon.pod("late")).await.unwrap_err();
    remove(&daemon, &pod).await;
    std::fs::remove_dir_all(&directory).unwrap();
    network_ready(&daemon, false).await;
    std::fs::create_dir(&directory).unwrap();
    write_network(&daemon, &[bridge(&daemon)]);
    network_ready(&daemon, true).await;
    let pod = daemon.run_pod(&daemon.pod("late")).await;
    for sandbox in [pod, host] {
        remove(&daemon, &sandbox).await;
    }
    no_traces(&daemon);
}

async fn update(daemon: &support::Daemon, cidr: &str) -> Result<(), tonic::Status> {
    let request = UpdateRuntimeConfigRequest {
        runtime_config: Some(RuntimeConfig {
            network_config: Some(NetworkConfig {
                pod_cidr: cidr.into(),
            }),
        }),
    };
    daemon.runtime().update_runtime_config(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_address_range_reaches_plugins_that_ask_for_it() {
    let daemon = support::daemon!().network(json!(null)).start().await;
    let mut plugin = bridge(&daemon);
    plugin["capabilities"] = json!({ "ipRanges": true });
    plugin["ipam"].as_object_mut().unwrap().remove("ranges");
    set_network(&daemon, &[plugin]).await;
    let error = try_run(&daemon, &daemon.pod("none")).await.unwrap_err();
    assert!(
        error.message().contains("bridge"),
        "the plugin has no range: {error}"
    );
    // It cannot even be undone without one.
    let half_made = sandboxes(&daemon).await;
    // Nor does the plugin understand the bridge that it has left.
    let deleted = std::process::Command::new("ip")
        .args(["link", "delete", daemon.bridge()])
        .status();
    assert!(deleted.unwrap().success());
    let subnet = daemon.subnet();
    let prefix = subnet.strip_suffix("0/24").unwrap();
    for cidr in ["10.0.0.0/33", "nonsense", "10.0.0.0"] {
        let error = update(&daemon, cidr).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{cidr}: {error}");
        assert!(
            error.message().contains("pod_cidr"),
            "it names the field: {error}"
        );
    }
    update(&daemon, &format!("{subnet},{}:/112", prefix6(&daemon)))
        .await
        .unwrap();
    // The kubelet says nothing of it when it does not know: what was said before stays.
    update(&daemon, "").await.unwrap();
    let sandbox = daemon.run_pod(&daemon.pod("ranged")).await;
    let ips = addresses(&daemon, &sandbox).await;
    assert!(
        ips.len() == 2 && ips[0].starts_with(prefix) && ips[1].starts_with(&prefix6(&daemon)),
        "{ips:?}"
    );
    remove(&daemon, &sandbox).await;
    for sandbox in half_made {
        remove(&daemon, &sandbox.id).await;
    }
    no_traces(&daemon);
}
