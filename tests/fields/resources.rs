//! Limits that are written behind the Engine, and what is told of them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use cri::{HugepageLimit, LinuxContainerResources, UpdateContainerResourcesRequest};
use support::Engine;

use super::Node;

const MB: i64 = 1 << 20;

/// The memory limit that the kernel has for a container; `None` is no limit.
fn limit(id: &str) -> Option<i64> {
    let pid = Engine::get().inspect(id)["State"]["Pid"].to_string();
    let memberships = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let file = memberships
        .lines()
        .find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            match controllers {
                "" => Some(format!("/sys/fs/cgroup{path}/memory.max")),
                "memory" => Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
                _ => None,
            }
        })
        .map(PathBuf::from)
        .filter(|file| file.exists())
        .unwrap_or_else(|| panic!("no memory cgroup in {memberships}"));
    let text = fs::read_to_string(file).unwrap();
    text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

async fn told(node: &Node, id: &str) -> LinuxContainerResources {
    let status = node.daemon.container_status(id).await;
    status.resources.unwrap().linux.unwrap()
}

async fn update(node: &Node, id: &str, linux: LinuxContainerResources) {
    let request = UpdateContainerResourcesRequest {
        container_id: id.into(),
        linux: Some(linux),
        ..Default::default()
    };
    node.daemon
        .runtime()
        .update_container_resources(request)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_limits_are_lowered_below_the_engines_minimum_raised_and_removed() {
    let node = Node::new().await;
    let mut config = node.config("memory", &node.image);
    config.linux.as_mut().unwrap().resources = Some(LinuxContainerResources {
        memory_limit_in_bytes: 4 * MB,
        ..Default::default()
    });
    let id = node.run(&config).await;
    assert_eq!(limit(&id), Some(4 * MB));
    let has = told(&node, &id).await;
    assert_eq!(
        (has.memory_limit_in_bytes, has.memory_swap_limit_in_bytes),
        (4 * MB, 4 * MB)
    );
    for (asked, kernel, says) in [
        (64 * MB, Some(64 * MB), 64 * MB),
        (5 * MB, Some(5 * MB), 5 * MB),
        (-1, None, 0),
        (32 * MB, Some(32 * MB), 32 * MB),
    ] {
        let linux = LinuxContainerResources {
            memory_limit_in_bytes: asked,
            ..Default::default()
        };
        update(&node, &id, linux).await;
        assert_eq!(limit(&id), kernel, "asked for {asked}");
        assert_eq!(
            told(&node, &id).await.memory_limit_in_bytes,
            says,
            "asked for {asked}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_does_not_know_is_told_again_and_changed() {
    let node = Node::new().await;
    let huge = |page_size: &str, limit: u64| HugepageLimit {
        page_size: page_size.into(),
        limit,
    };
    let unified = |value: &str| BTreeMap::from([("memory.oom.group".to_owned(), value.to_owned())]);
    let mut config = node.config("behind", &node.image);
    config.linux.as_mut().unwrap().resources = Some(LinuxContainerResources {
        // As the kubelet sends it, for every size that the node has, and one that none has.
        hugepage_limits: vec![huge("2MB", 0), huge("1GB", 0), huge("3MB", 3 << 20)],
        unified: unified("1"),
        oom_score_adj: 300,
        ..Default::default()
    });
    let id = node.run(&config).await;
    let has = told(&node, &id).await;
    assert_eq!((has.unified, has.hugepage_limits.len()), (unified("1"), 3));
    let change = LinuxContainerResources {
        hugepage_limits: vec![huge("2MB", 4 << 20)],
        unified: unified("0"),
        oom_score_adj: 400,
        ..Default::default()
    };
    update(&node, &id, change).await;
    let has = told(&node, &id).await;
    assert_eq!((has.unified, has.oom_score_adj), (unified("0"), 400));
    assert!(
        has.hugepage_limits.contains(&huge("2MB", 4 << 20)),
        "{:?}",
        has.hugepage_limits
    );
    assert_eq!(has.hugepage_limits.len(), 3);
    assert_eq!(node.daemon.sh(&id, "cat /proc/1/oom_score_adj").await, "400");
}
