//! ListMetricDescriptors and ListPodSandboxMetrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use cri::{ListMetricDescriptorsRequest, ListPodSandboxMetricsRequest, StreamPodSandboxMetricsRequest};
use support::container_of;
use tokio::time::sleep;

use super::{Node, PATIENCE};

/// What depends on devices and on features of the machine's kernel.
const NOT_EVERYWHERE: [&str; 7] = [
    "blkio_",
    "fs_reads_",
    "fs_writes_",
    "hugetlb_",
    "pressure_",
    "spec_cpu_quota",
    "spec_memory_reservation",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_has_a_value_that_fits_its_descriptor() {
    let node = Node::new().await;
    let script = "mkdir /d && touch /d/1; while :; do :; done";
    let mut config = container_of(&node.pod, "busy", &node.image, &["sh", "-c", script]);
    let resources = config.linux.as_mut().unwrap().resources.as_mut().unwrap();
    (resources.cpu_period, resources.cpu_quota, resources.cpu_shares) = (100_000, 20_000, 512);
    resources.memory_limit_in_bytes = 64 << 20;
    let busy = node.daemon.run_container(&node.sandbox, &node.pod, &config).await;
    let mut runtime = node.daemon.runtime();

    let descriptors = runtime
        .list_metric_descriptors(ListMetricDescriptorsRequest {})
        .await
        .unwrap();
    let descriptors: BTreeMap<_, _> = descriptors
        .into_inner()
        .descriptors
        .into_iter()
        .map(|descriptor| (descriptor.name.clone(), descriptor))
        .collect();
    // What is in a writable layer is counted by and by.
    let end = Instant::now() + PATIENCE;
    let container = loop {
        let pods = runtime
            .list_pod_sandbox_metrics(ListPodSandboxMetricsRequest {})
            .await
            .unwrap();
        let mut pods = pods.into_inner().pod_metrics.into_iter();
        let mut pod = pods.find(|pod| pod.pod_sandbox_id == node.sandbox).unwrap();
        let container = pod.container_metrics.remove(0);
        assert!(pod.container_metrics.is_empty(), "{pod:?}");
        assert_eq!(container.container_id, busy);
        let mut seen = BTreeSet::new();
        for metric in pod.metrics.iter().chain(&container.metrics) {
            let keys = &descriptors[&metric.name].label_keys;
            assert_eq!(keys.len(), metric.label_values.len(), "{metric:?}");
            assert!(metric.value.is_some(), "{metric:?}");
            let of_pod = [&"pod".to_owned(), &node.daemon.name().to_owned()];
            assert_eq!(
                [&metric.label_values[0], &metric.label_values[1]],
                of_pod,
                "{metric:?}"
            );
            seen.insert(&metric.name);
        }
        let missing: Vec<_> = descriptors
            .keys()
            .filter(|name| !seen.contains(name))
            .filter(|name| !NOT_EVERYWHERE.iter().any(|part| name.contains(part)))
            .collect();
        if missing.is_empty() {
            break container;
        }
        assert!(Instant::now() < end, "{missing:?}");
        sleep(Duration::from_millis(50)).await;
    };
    let value = |name: &str| {
        let metric = container
            .metrics
            .iter()
            .find(|metric| metric.name == name)
            .unwrap();
        metric.value.unwrap().value
    };
    assert_eq!(value("container_spec_memory_limit_bytes"), 64 << 20);
    assert_eq!(
        (
            value("container_spec_cpu_period"),
            value("container_spec_cpu_quota")
        ),
        (100_000, 20_000)
    );
    // cgroup v2 has weights, which are coarser.
    assert!(value("container_spec_cpu_shares").abs_diff(512) < 30);
    assert_eq!(
        (value("container_processes"), value("container_oom_events_total")),
        (1, 0)
    );
    assert!(value("container_file_descriptors") >= 3);
    let started = node.daemon.container_status(&busy).await.started_at / 1_000_000_000;
    assert_eq!(
        value("container_start_time_seconds"),
        u64::try_from(started).unwrap()
    );
    assert!(value("container_fs_limit_bytes") > value("container_fs_usage_bytes"));

    let mut stream = runtime
        .stream_pod_sandbox_metrics(StreamPodSandboxMetricsRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut streamed = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        streamed.extend(
            message
                .pod_sandbox_metrics
                .into_iter()
                .map(|pod| pod.pod_sandbox_id),
        );
    }
    assert!(streamed.contains(&node.sandbox));
}
