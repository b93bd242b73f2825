//! ListPodSandboxStats and PodSandboxStats.

use std::{io::Write, net::TcpStream, process::Command, time::Instant};

use cri::{
    NamespaceMode, PodSandboxStatsFilter, PodSandboxStatsRequest, StopPodSandboxRequest,
    StreamPodSandboxStatsRequest,
};
use support::{Engine, container_of};

use super::{Node, PATIENCE, SLEEP, cpu, id, number};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_its_cgroup() {
    let node = Node::new().await;
    let script = "(head -c 20000000 /dev/zero; sleep 1000) | tail -c 20000000";
    let allocating = node.run("allocating", &["sh", "-c", script]).await;
    let other = node.run("other", SLEEP).await;
    let container = node
        .until(&allocating, |stats| {
            stats
                .memory
                .as_ref()
                .is_some_and(|memory| number(memory.rss_bytes) > 20_000_000)
        })
        .await;
    let stats = node.pod_stats(&node.sandbox).await;
    let attributes = stats.attributes.unwrap();
    assert_eq!(
        (attributes.id, attributes.metadata),
        (node.sandbox.clone(), node.pod.metadata.clone())
    );
    assert_eq!(attributes.labels, node.pod.labels);
    let linux = stats.linux.unwrap();
    let used = linux.cpu.unwrap();
    assert!(number(used.usage_core_nano_seconds) >= cpu(&container) && used.timestamp > 0);
    let memory = linux.memory.unwrap();
    assert!(number(memory.rss_bytes) > 20_000_000, "{memory:?}");
    // pause; sh, tail and a shell with sleep; sleep.
    let processes = number(linux.process.unwrap().process_count);
    assert!((4..=7).contains(&processes), "{processes}");
    let mut members: Vec<_> = linux
        .containers
        .iter()
        .map(|stats| id(stats).to_owned())
        .collect();
    let mut expected = [allocating, other];
    members.sort();
    expected.sort();
    assert_eq!(members, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_cgroup_of_its_own_is_the_sum() {
    let node = Node::new().await;
    let mut pod = node.daemon.pod("plain");
    pod.linux.as_mut().unwrap().cgroup_parent.clear();
    let sandbox = node.daemon.run_pod(&pod).await;
    let config = container_of(&pod, "asleep", &node.image, SLEEP);
    let asleep = node.daemon.run_container(&sandbox, &pod, &config).await;
    let stats = node.pod_stats(&sandbox).await;
    let linux = stats.linux.unwrap();
    assert_eq!(linux.containers.len(), 1);
    // Not those of all containers that the Engine has below its own cgroup.
    assert_eq!(number(linux.process.unwrap().process_count), 2);
    assert!(
        number(linux.memory.unwrap().usage_bytes)
            >= number(node.stats(&asleep).await.memory.unwrap().rss_bytes)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_counts_what_a_pod_receives() {
    const SIZE: usize = 3_000_000;
    let node = Node::new().await;
    let listening = node
        .run("listening", &["sh", "-c", "nc -l -p 80 > /dev/null; sleep 1000"])
        .await;
    let ip = node
        .daemon
        .sandbox_status(&node.sandbox)
        .await
        .network
        .unwrap()
        .ip;
    let received = async || {
        let network = node
            .pod_stats(&node.sandbox)
            .await
            .linux
            .unwrap()
            .network
            .unwrap();
        assert!(network.interfaces.is_empty(), "{network:?}");
        let interface = network.default_interface.unwrap();
        assert_eq!(interface.name, "eth0");
        assert_eq!((number(interface.rx_errors), number(interface.tx_errors)), (0, 0));
        number(interface.rx_bytes)
    };
    let before = received().await;
    let end = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect((ip.as_str(), 80)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    stream.write_all(&vec![7; SIZE]).unwrap();
    drop(stream);
    let got = loop {
        let got = received().await - before;
        if got >= SIZE as u64 {
            break got;
        }
        assert!(Instant::now() < end, "{got} of {SIZE}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert!(got < 2 * SIZE as u64, "{got}");
    drop(listening);

    // A kubelet crashes at a network without a default interface.
    let pid = Engine::get().inspect(&node.sandbox)["State"]["Pid"].to_string();
    let removed = Command::new("nsenter")
        .args(["--target", &pid, "--net", "ip", "link", "del", "eth0"])
        .status();
    assert!(removed.unwrap().success());
    let linux = node.pod_stats(&node.sandbox).await.linux.unwrap();
    assert!(linux.network.is_none() && linux.cpu.is_some(), "{linux:?}");

    let mut pod = node.daemon.pod("of-the-host");
    let linux = pod.linux.as_mut().unwrap();
    let options = linux
        .security_context
        .as_mut()
        .unwrap()
        .namespace_options
        .as_mut()
        .unwrap();
    options.network = NamespaceMode::Node.into();
    let sandbox = node.daemon.run_pod(&pod).await;
    let linux = node.pod_stats(&sandbox).await.linux.unwrap();
    assert!(linux.network.is_none() && linux.cpu.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_running_pods_are_listed() {
    let node = Node::new().await;
    let daemon = &node.daemon;
    let mut second = daemon.pod("second");
    second.labels.insert("tier".into(), "web".into());
    let stopped = daemon.run_pod(&second).await;
    let request = StopPodSandboxRequest {
        pod_sandbox_id: stopped.clone(),
    };
    daemon.runtime().stop_pod_sandbox(request).await.unwrap();
    let mut again = second.clone();
    again.metadata.as_mut().unwrap().attempt = 1;
    let labelled = daemon.run_pod(&again).await;
    let request = StreamPodSandboxStatsRequest {
        filter: Some(PodSandboxStatsFilter {
            label_selector: [
                ("io.kubernetes.pod.namespace".into(), daemon.name().into()),
                ("tier".into(), "web".into()),
            ]
            .into(),
            ..Default::default()
        }),
    };
    let mut stream = daemon
        .runtime()
        .stream_pod_sandbox_stats(request)
        .await
        .unwrap()
        .into_inner();
    let mut found = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        found.extend(
            message
                .pod_sandbox_stats
                .into_iter()
                .map(|stats| stats.attributes.unwrap().id),
        );
    }
    assert_eq!(found, [labelled]);
    let one = |id: &str| {
        let request = PodSandboxStatsRequest {
            pod_sandbox_id: id.into(),
        };
        let mut runtime = daemon.runtime();
        async move { runtime.pod_sandbox_stats(request).await }
    };
    let stats = one(&stopped).await.unwrap().into_inner().stats.unwrap();
    assert!(stats.attributes.unwrap().id == stopped && stats.linux.unwrap().cpu.is_none());
    assert_eq!(
        one("feedfeedfeed").await.unwrap_err().code(),
        tonic::Code::NotFound
    );
}
