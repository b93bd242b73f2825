//! ListContainerStats and ContainerStats.

use std::{collections::BTreeMap, time::Instant};

use cri::{
    ContainerStatsFilter, ContainerStatsRequest, ImageFsInfoRequest, RemoveContainerRequest,
    StopContainerRequest, StreamContainerStatsRequest,
};
use serde_json::Value;
use support::{Engine, EngineProxy, container_of};

use super::{Node, PATIENCE, SLEEP, cpu, id, number};

/// What the Engine says of a container.
fn engine_stats(id: &str) -> Value {
    Engine::get().ask(
        "GET",
        &format!("/containers/{id}/stats?stream=false&one-shot=true"),
        None,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_lies_between_two_answers_of_the_engine() {
    let node = Node::new().await;
    let burning = node.run("burning", &["sh", "-c", "while :; do :; done"]).await;
    let engine = || {
        engine_stats(&burning)["cpu_stats"]["cpu_usage"]["total_usage"]
            .as_u64()
            .unwrap()
    };
    let mut last = 0;
    for _ in 0..3 {
        let before = engine();
        let stats = node.stats(&burning).await;
        let after = engine();
        let (ours, at) = (cpu(&stats), stats.cpu.as_ref().unwrap().timestamp);
        assert!((before..=after).contains(&ours), "{before} {ours} {after}");
        assert!(at > last, "the time of a sample goes on");
        last = at;
    }
    let stats = node
        .until(&burning, |stats| {
            stats.cpu.as_ref().unwrap().usage_nano_cores.is_some()
        })
        .await;
    // One loop keeps one processor, as far as others leave it any.
    let cores = number(stats.cpu.unwrap().usage_nano_cores);
    assert!((20_000_000..1_200_000_000).contains(&cores), "{cores}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_what_was_allocated_and_what_the_engine_says() {
    const SIZE: u64 = 30_000_000;
    let node = Node::new().await;
    // tail keeps all of it until its input ends, which it does not; and a file that nobody uses is left in the cache.
    let script = format!(
        "dd if=/dev/zero of=/file bs=1M count=10; (head -c {SIZE} /dev/zero; sleep 1000) | tail -c {SIZE}"
    );
    let config = {
        let mut config = container_of(&node.pod, "allocating", &node.image, &["sh", "-c", &script]);
        let resources = config.linux.as_mut().unwrap().resources.as_mut().unwrap();
        resources.memory_limit_in_bytes = 100_000_000;
        config
    };
    let allocating = node.daemon.run_container(&node.sandbox, &node.pod, &config).await;
    let stats = node
        .until(&allocating, |stats| {
            stats
                .memory
                .as_ref()
                .is_some_and(|memory| number(memory.rss_bytes) > SIZE)
        })
        .await;
    let memory = stats.memory.unwrap();
    let (rss, working_set) = (number(memory.rss_bytes), number(memory.working_set_bytes));
    assert!(rss < 2 * SIZE, "{memory:?}");
    assert!(
        (rss..=number(memory.usage_bytes)).contains(&working_set),
        "{memory:?}"
    );
    let limit = number(memory.available_bytes) + working_set;
    assert!((99_000_000..=100_000_000).contains(&limit), "{memory:?}");
    assert!(number(memory.page_faults) > 100, "{memory:?}");
    // No swap beyond the limit, which is the kubelet's rule; not every kernel counts it.
    if let Some(swap) = stats.swap {
        assert_eq!(number(swap.swap_usage_bytes), 0);
        assert_eq!(number(swap.swap_available_bytes), 0);
    }

    let engine = engine_stats(&allocating);
    let engine = &engine["memory_stats"];
    let of = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| engine["stats"][name].as_u64())
            .unwrap()
    };
    let inactive = of(["total_inactive_file", "inactive_file"]);
    let theirs = engine["usage"].as_u64().unwrap() - inactive;
    assert!(theirs.abs_diff(working_set) < 4_000_000, "{theirs} {working_set}");
    assert!(
        of(["total_rss", "anon"]).abs_diff(rss) < 2_000_000,
        "{engine} {rss}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_counted_soon() {
    let node = Node::new().await;
    let writing = node.run("writing", SLEEP).await;
    let written = |stats: &cri::ContainerStats| {
        stats
            .writable_layer
            .as_ref()
            .map(|layer| number(layer.used_bytes))
    };
    let stats = node.until(&writing, |stats| written(stats).is_some()).await;
    let layer = stats.writable_layer.unwrap();
    let (bytes, inodes) = (number(layer.used_bytes), number(layer.inodes_used));
    assert!(bytes < 1_000_000, "{layer:?}");
    let request = ImageFsInfoRequest {};
    let images = node
        .daemon
        .images()
        .image_fs_info(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(layer.fs_id, images.image_filesystems[0].fs_id);

    let script = "dd if=/dev/zero of=/file bs=1M count=10 && ln /file /again && mkdir /d && touch /d/1 /d/2";
    node.daemon.sh(&writing, script).await;
    // One file with two names, a directory, two files. The count may begin while they are made.
    let stats = node
        .until(&writing, |stats| {
            let layer = stats.writable_layer.as_ref();
            layer.is_some_and(|layer| number(layer.inodes_used) == inodes + 4)
                && written(stats).is_some_and(|now| now - bytes >= 10 << 20)
        })
        .await;
    let after = stats.writable_layer.unwrap();
    assert!(number(after.used_bytes) - bytes < 11 << 20, "{after:?}");
    assert!(after.timestamp > layer.timestamp);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_what_runs_and_is_asked_for() {
    let node = Node::new().await;
    let daemon = &node.daemon;
    let other = daemon.pod("other");
    let other_sandbox = daemon.run_pod(&other).await;
    let first = node.run("first", SLEEP).await;
    let mut config = container_of(&other, "second", &node.image, SLEEP);
    config.labels.insert("tier".into(), "web".into());
    config.annotations.insert("note".into(), "kept".into());
    let second = daemon.run_container(&other_sandbox, &other, &config).await;
    let config = container_of(&node.pod, "created", &node.image, SLEEP);
    let created = daemon.create(&node.sandbox, &node.pod, &config).await;
    let ended = node.run("ended", &["true"]).await;
    daemon.ended(&ended).await;

    let mine = ("io.kubernetes.pod.namespace", daemon.name());
    for (id, sandbox, label, expected) in [
        ("", "", mine, vec![&first, &second]),
        (first.as_str(), "", mine, vec![&first]),
        (&first[..12], "", mine, vec![&first]),
        (&created, "", mine, vec![]),
        (&ended, "", mine, vec![]),
        ("", node.sandbox.as_str(), mine, vec![&first]),
        (&first, &other_sandbox, mine, vec![]),
        ("", "", ("tier", "web"), vec![&second]),
        ("", "", ("tier", "db"), vec![]),
        ("feedfeedfeed", "", mine, vec![]),
    ] {
        let filter = ContainerStatsFilter {
            id: id.into(),
            pod_sandbox_id: sandbox.into(),
            label_selector: BTreeMap::from([(label.0.into(), label.1.into())]),
        };
        let listed = node.list(filter.clone()).await;
        let mut found: Vec<_> = listed.iter().map(|stats| super::id(stats).to_owned()).collect();
        let mut expected: Vec<_> = expected.into_iter().cloned().collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{filter:?}");
        let request = StreamContainerStatsRequest { filter: Some(filter) };
        let mut stream = daemon
            .runtime()
            .stream_container_stats(request)
            .await
            .unwrap()
            .into_inner();
        let mut streamed = Vec::new();
        while let Some(message) = stream.message().await.unwrap() {
            streamed.extend(
                message
                    .container_stats
                    .iter()
                    .map(|stats| super::id(stats).to_owned()),
            );
        }
        streamed.sort();
        assert_eq!(streamed, expected);
    }
    let attributes = node.stats(&second).await.attributes.unwrap();
    assert_eq!(attributes.metadata.unwrap().name, "second");
    assert_eq!(
        (&attributes.labels["tier"], &attributes.annotations["note"]),
        (&"web".into(), &"kept".into())
    );

    let one = |id: &str| {
        let request = ContainerStatsRequest {
            container_id: id.into(),
        };
        let mut runtime = daemon.runtime();
        async move { runtime.container_stats(request).await }
    };
    let stats = one(&first[..12]).await.unwrap().into_inner().stats.unwrap();
    assert!(id(&stats) == first && stats.cpu.is_some());
    let stats = one(&ended).await.unwrap().into_inner().stats.unwrap();
    assert!(id(&stats) == ended && stats.cpu.is_none() && stats.memory.is_none());
    assert_eq!(
        one("feedfeedfeed").await.unwrap_err().code(),
        tonic::Code::NotFound
    );
    assert_eq!(one("").await.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_goes_does_not_spoil_a_list() {
    let node = Node::new().await;
    let stays = node.run("stays", SLEEP).await;
    let going = async {
        for round in 0..6 {
            let id = node.run(&format!("going-{round}"), SLEEP).await;
            let mut runtime = node.daemon.runtime();
            let request = StopContainerRequest {
                container_id: id.clone(),
                timeout: 0,
            };
            runtime.stop_container(request).await.unwrap();
            runtime
                .remove_container(RemoveContainerRequest { container_id: id })
                .await
                .unwrap();
        }
    };
    let mut going = std::pin::pin!(going);
    let mut lists = 0;
    loop {
        tokio::select! {
            biased;
            () = &mut going => break,
            stats = node.list(ContainerStatsFilter::default()) => {
                let kept = stats.iter().find(|stats| id(stats) == stays).expect("one that stays");
                assert!(cpu(kept) > 0);
                lists += 1;
            }
        }
    }
    assert!(lists > 0, "{lists}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_is_not_asked_for_statistics() {
    let proxy = EngineProxy::start();
    let node = Node::of(support::daemon!().engine(proxy.socket())).await;
    let running = node.run("running", SLEEP).await;
    let began = Instant::now();
    loop {
        proxy.take();
        for _ in 0..5 {
            node.stats(&running).await;
            node.pod_stats(&node.sandbox).await;
        }
        let calls = proxy.take();
        assert_eq!(calls.of("GET", "/containers/{id}/stats"), 0, "{calls}");
        // What is told of both at their start may still be looked into, but not for each answer.
        let about = |id: &String| {
            calls
                .0
                .iter()
                .filter(|call| call.path.contains(id.as_str()))
                .count()
        };
        if about(&running) < 5 && about(&node.sandbox) < 5 {
            return;
        }
        // Until all images and containers of the Engine were looked at once, it is asked.
        assert!(began.elapsed() < PATIENCE, "{calls}");
    }
}
