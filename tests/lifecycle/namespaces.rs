//! What containers of a pod share.

use cri::{ContainerConfig, NamespaceMode};

use super::{Node, context};

fn pid(config: &mut ContainerConfig, mode: NamespaceMode, target: &str) {
    let options = context(config).namespace_options.as_mut().unwrap();
    options.pid = mode.into();
    options.target_id = target.into();
}

/// The namespaces of a container's first process that the kernel can tell apart.
async fn namespaces(node: &Node, id: &str) -> [String; 4] {
    let process = support::Engine::get().inspect(id)["State"]["Pid"].to_string();
    ["pid", "ipc", "net", "uts"].map(|kind| {
        let link = std::fs::read_link(format!("/proc/{process}/ns/{kind}"));
        link.unwrap_or_else(|error| panic!("{kind} of {id} on {}: {error}", node.daemon.name()))
            .display()
            .to_string()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_seen_by_whom_they_should() {
    let node = Node::with(|pod| {
        let linux = pod.linux.as_mut().unwrap();
        let context = linux.security_context.as_mut().unwrap();
        context.namespace_options.as_mut().unwrap().pid = NamespaceMode::Pod.into();
    })
    .await;
    let run = async |name: &str, mode, target: &str| {
        let mut config = node.config(name, super::SLEEP);
        pid(&mut config, mode, target);
        node.run(&config).await
    };
    let pod = run("pod", NamespaceMode::Pod, "").await;
    let alone = run("alone", NamespaceMode::Container, "").await;
    let guest = run("guest", NamespaceMode::Target, &alone).await;
    let host = run("host", NamespaceMode::Node, "").await;

    let sandbox = namespaces(&node, &node.sandbox).await;
    let of = async |id: &str| namespaces(&node, id).await;
    let (pod_has, alone_has, guest_has, host_has) = (
        of(&pod).await,
        of(&alone).await,
        of(&guest).await,
        of(&host).await,
    );
    assert_eq!(pod_has[0], sandbox[0]);
    assert_ne!(alone_has[0], sandbox[0]);
    assert_eq!(guest_has[0], alone_has[0]);
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(host_has[0], own.display().to_string());
    for has in [pod_has, alone_has, guest_has, host_has] {
        assert_eq!(has[1..3], sandbox[1..3], "network and IPC are the pod's");
    }
    assert_eq!(node.daemon.sh(&alone, "cat /proc/1/comm").await, "sh");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_can_be_in_the_hosts_namespaces() {
    let host = |options: &mut cri::NamespaceOption| {
        options.network = NamespaceMode::Node.into();
        options.pid = NamespaceMode::Node.into();
        options.ipc = NamespaceMode::Node.into();
    };
    let node = Node::with(|pod| {
        let context = pod.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        host(context.namespace_options.as_mut().unwrap());
        pod.hostname.clear();
    })
    .await;
    let id = node
        .asleep(|config| host(context(config).namespace_options.as_mut().unwrap()))
        .await;
    let has = namespaces(&node, &id).await;
    for (kind, has) in ["pid", "ipc", "net", "uts"].iter().zip(&has) {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_eq!(*has, own.display().to_string(), "{kind}");
    }
}
