//! Sandboxes: what is echoed, how they end, what their containers get from them.

use std::path::Path;

use cri::{
    ContainerState, DnsConfig, NamespaceMode, PodSandboxFilter, PodSandboxState, PodSandboxStatusRequest,
    RunPodSandboxRequest,
};
use support::Engine;
use tonic::Code;

use super::{ContainerFilter, Node, SLEEP, containers, now, remove_sandbox, sandboxes, stop_sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_is_echoed_also_by_another_daemon() {
    let mut daemon = support::daemon!().start().await;
    let mut pod = daemon.pod("a_name.with_under-scores");
    let metadata = pod.metadata.as_mut().unwrap();
    metadata.attempt = 7;
    metadata.uid = format!("u_i_d_{}", metadata.uid);
    pod.labels.insert(
        "example.org/ünïcode key".into(),
        "välue, with \"quotes\" = and\nlines".into(),
    );
    pod.labels.insert("annotation.not-one".into(), String::new());
    pod.labels
        .insert("io.kubernetes.docker.type".into(), "container".into());
    pod.annotations
        .insert("example.org/note".into(), "x".repeat(5000));
    pod.annotations.insert("annotation.".into(), "{}".into());
    let context = pod.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    let options = context.namespace_options.as_mut().unwrap();
    options.network = NamespaceMode::Node.into();
    options.pid = NamespaceMode::Pod.into();
    options.ipc = NamespaceMode::Node.into();
    let options = options.clone();
    pod.hostname.clear();

    let before = now();
    let request = RunPodSandboxRequest {
        config: Some(pod.clone()),
        runtime_handler: "runc".into(),
    };
    let answer = daemon.runtime().run_pod_sandbox(request).await.unwrap();
    let id = answer.into_inner().pod_sandbox_id;
    let after = now();
    for round in 0..2 {
        let status = daemon.sandbox_status(&id).await;
        let filter = PodSandboxFilter {
            id: id.clone(),
            ..Default::default()
        };
        let [item] = sandboxes(&daemon, filter).await.try_into().unwrap();
        assert_eq!((&item.id, &status.id), (&id, &id));
        assert_eq!((&item.metadata, &status.metadata), (&pod.metadata, &pod.metadata));
        assert_eq!((&item.labels, &status.labels), (&pod.labels, &pod.labels));
        assert_eq!(
            (&item.annotations, &status.annotations),
            (&pod.annotations, &pod.annotations)
        );
        assert_eq!(
            (&*item.runtime_handler, &*status.runtime_handler),
            ("runc", "runc")
        );
        assert_eq!(
            (item.state(), status.state()),
            (PodSandboxState::SandboxReady, PodSandboxState::SandboxReady)
        );
        assert_eq!(item.created_at, status.created_at);
        assert!(
            (before..=after).contains(&status.created_at),
            "{before} {} {after}",
            status.created_at
        );
        assert_eq!(
            status.linux.unwrap().namespaces.unwrap().options,
            Some(options.clone())
        );
        assert_eq!(
            status.network.unwrap().ip,
            "",
            "a pod in the host's network has no address of its own"
        );
        if round == 0 {
            daemon.restart().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_found_by_the_beginning_of_its_id_and_others_are_not_found() {
    let node = Node::new().await;
    let status = node.daemon.sandbox_status(&node.sandbox[..13]).await;
    assert_eq!(status.id, node.sandbox);
    let container = node.asleep(|_| {}).await;
    for unknown in ["feedfeedfeedfeed", "no id at all", "../../etc", &container] {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: unknown.into(),
            verbose: false,
        };
        let status = node
            .daemon
            .runtime()
            .pod_sandbox_status(request)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{unknown}: {status}");
        assert!(status.message().contains(unknown), "{status}");
    }
    let status = node
        .daemon
        .runtime()
        .pod_sandbox_status(PodSandboxStatusRequest::default())
        .await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_information_is_json() {
    let node = Node::new().await;
    let request = PodSandboxStatusRequest {
        pod_sandbox_id: node.sandbox.clone(),
        verbose: true,
    };
    let answer = node
        .daemon
        .runtime()
        .pod_sandbox_status(request)
        .await
        .unwrap()
        .into_inner();
    let info: serde_json::Value = serde_json::from_str(&answer.info["info"]).unwrap();
    let engine = Engine::get().inspect(&node.sandbox);
    assert_eq!(info["pid"], engine["State"]["Pid"]);
    assert!(Path::new("/proc").join(info["pid"].to_string()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_the_members_and_remove_takes_them_away_running_or_not() {
    let node = Node::new().await;
    let (daemon, sandbox) = (&node.daemon, &node.sandbox);
    let first = node.asleep(|_| {}).await;
    let pin = format!("/run/netns/dockside-{sandbox}");
    assert!(Path::new(&pin).exists());

    for _ in 0..2 {
        stop_sandbox(daemon, sandbox).await;
        assert_eq!(
            daemon.sandbox_status(sandbox).await.state(),
            PodSandboxState::SandboxNotready
        );
        assert_eq!(
            daemon.container_status(&first).await.state(),
            ContainerState::ContainerExited
        );
        assert!(
            !Path::new(&pin).exists(),
            "the pin of the network namespace is left"
        );
    }
    assert_eq!(Engine::get().inspect(sandbox)["State"]["Running"], false);
    // The pod as a whole is still there for the logs.
    assert_eq!(node.item(&first).await.state(), ContainerState::ContainerExited);

    let mut again = node.pod.clone();
    again.metadata.as_mut().unwrap().attempt = 1;
    let second = daemon.run_pod(&again).await;
    let mut config = node.config("runs", SLEEP);
    let runs = daemon.run_container(&second, &again, &config).await;
    config.metadata.as_mut().unwrap().name = "never-started".into();
    daemon.create(&second, &again, &config).await;
    for id in [sandbox, &second] {
        for _ in 0..2 {
            remove_sandbox(daemon, id).await;
        }
        assert!(Engine::get().find(id).is_none());
    }
    assert!(Engine::get().find(&runs).is_none());
    assert_eq!(
        Engine::get().named(&format!("_{}_", daemon.name())),
        [serde_json::Value::Null; 0]
    );
    let all = containers(daemon, ContainerFilter::default()).await;
    assert!(
        all.iter().all(|container| container.pod_sandbox_id != second),
        "{all:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_remove_of_what_does_not_exist_succeed() {
    let daemon = support::daemon!().start().await;
    for unknown in ["feedfeedfeedfeed", "no id"] {
        stop_sandbox(&daemon, unknown).await;
        remove_sandbox(&daemon, unknown).await;
        super::stop(&daemon, unknown, 1).await;
        super::remove(&daemon, unknown).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_sandbox_is_not_made_twice() {
    let node = Node::new().await;
    let request = RunPodSandboxRequest {
        config: Some(node.pod.clone()),
        ..Default::default()
    };
    let status = node.daemon.runtime().run_pod_sandbox(request).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    assert_eq!(
        node.daemon.sandbox_status(&node.sandbox).await.state(),
        PodSandboxState::SandboxReady
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_its_hostname_address_and_resolver_in_every_container() {
    let node = Node::with(|pod| {
        pod.hostname = "host-of-the-pod".into();
        pod.dns_config = Some(DnsConfig {
            servers: vec!["10.96.0.10".into(), "10.96.0.11".into()],
            searches: vec!["ns.svc.cluster.local".into(), "cluster.local".into()],
            options: vec!["ndots:5".into(), "edns0".into()],
        });
    })
    .await;
    let id = node.asleep(|_| {}).await;
    let sh = |script: &'static str| node.daemon.sh(&id, script);
    assert_eq!(sh("hostname").await, "host-of-the-pod");
    assert_eq!(sh("cat /etc/hostname").await, "host-of-the-pod");
    assert_eq!(
        sh("cat /etc/resolv.conf").await,
        "search ns.svc.cluster.local cluster.local\nnameserver 10.96.0.10\nnameserver 10.96.0.11\noptions ndots:5 edns0"
    );
    let ip = node
        .daemon
        .sandbox_status(&node.sandbox)
        .await
        .network
        .unwrap()
        .ip;
    let subnet = node.daemon.subnet();
    assert!(
        ip.starts_with(subnet.trim_end_matches("0/24")),
        "{ip} is not in {subnet}"
    );
    let addresses = sh("ip -4 -o addr show dev eth0").await;
    assert!(addresses.contains(&format!("inet {ip}/24")), "{addresses}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sysctls_of_the_pod_hold_in_its_containers() {
    let node = Node::with(|pod| {
        let sysctls = &mut pod.linux.as_mut().unwrap().sysctls;
        sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
        sysctls.insert("net.ipv4.ip_local_port_range".into(), "20000 30000".into());
    })
    .await;
    let id = node.asleep(|_| {}).await;
    let read = "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range";
    assert_eq!(node.daemon.sh(&id, read).await, "1\n20000\t30000");
}

/// A CNI configuration whose bridge has one value that is not as it should be.
fn broken(bridge: &str, subnet: &str) -> serde_json::Value {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "broken",
        "plugins": [{
            "type": "bridge",
            "bridge": bridge,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]},
        }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_cannot_be_made_leaves_nothing() {
    let network = broken("a-name-that-is-too-long-for-the-kernel", "10.0.0.0/24");
    let daemon = support::daemon!().network(network).start().await;
    let request = RunPodSandboxRequest {
        config: Some(daemon.pod("never")),
        ..Default::default()
    };
    let error = daemon.runtime().run_pod_sandbox(request).await.unwrap_err();
    assert!(error.message().contains("too-long"), "{error}");
    assert_eq!(
        Engine::get().named(&format!("_{}_", daemon.name())),
        [serde_json::Value::Null; 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_cannot_be_taken_back_is_not_ready() {
    // Here the plugin fails to take down as well.
    let daemon = support::daemon!()
        .network(broken("dsbroken", "nonsense"))
        .start()
        .await;
    let pod = daemon.pod("left");
    let request = RunPodSandboxRequest {
        config: Some(pod.clone()),
        ..Default::default()
    };
    let error = daemon.runtime().run_pod_sandbox(request).await.unwrap_err();
    assert!(error.message().contains("nonsense"), "{error}");
    let filter = PodSandboxFilter {
        label_selector: pod.labels.clone(),
        ..Default::default()
    };
    for item in sandboxes(&daemon, filter).await {
        assert_eq!(item.state(), PodSandboxState::SandboxNotready);
        let status = daemon.sandbox_status(&item.id).await;
        assert_eq!(status.state(), PodSandboxState::SandboxNotready);
    }
}
