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

#[tokio::test(flavor = "multi_thread")]
async fn swap_is_what_was_asked_for_and_stays_when_memory_changes() {
    let node = Node::new().await;
    let limits = |memory: i64, swap: i64| LinuxContainerResources {
        memory_limit_in_bytes: memory * MB,
        memory_swap_limit_in_bytes: swap * MB,
        ..Default::default()
    };
    // What the container is made with, how it is changed, and memory and sum then.
    for (name, made, change, then) in [
        ("without", limits(32, 0), limits(48, 0), (48, 48)),
        ("allowed", limits(32, 40), limits(48, 0), (48, 56)),
        ("both", limits(32, 40), limits(24, 64), (24, 64)),
    ] {
        let mut config = node.config(name, &node.image);
        config.linux.as_mut().unwrap().resources = Some(made.clone());
        let id = node.run(&config).await;
        let has = async || {
            let told = told(&node, &id).await;
            let engine = &Engine::get().inspect(&id)["HostConfig"];
            let sum = engine["MemorySwap"].as_i64().unwrap();
            assert_eq!(told.memory_swap_limit_in_bytes, sum, "{name}");
            (told.memory_limit_in_bytes / MB, sum / MB)
        };
        let sum = made.memory_swap_limit_in_bytes.max(made.memory_limit_in_bytes);
        assert_eq!(has().await, (32, sum / MB), "{name}");
        update(&node, &id, change).await;
        assert_eq!(has().await, then, "{name}");
        assert_eq!(limit(&id), Some(then.0 * MB), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_processors_alone_changes_nothing_else_and_a_refused_one_nothing_at_all() {
    let node = Node::new().await;
    let mut config = node.config("processors", &node.image);
    config.linux.as_mut().unwrap().resources = Some(LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 32 * MB,
        ..Default::default()
    });
    let id = node.run(&config).await;
    let mut expected = told(&node, &id).await;
    let cpuset = |cpus: &str| LinuxContainerResources {
        cpuset_cpus: cpus.into(),
        ..Default::default()
    };
    update(&node, &id, cpuset("0")).await;
    expected.cpuset_cpus = "0".into();
    assert_eq!(told(&node, &id).await, expected);
    let allowed = node.daemon.sh(&id, "grep Cpus_allowed_list /proc/1/status").await;
    assert_eq!(allowed.split_whitespace().last(), Some("0"));

    let request = |linux| UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(linux),
        ..Default::default()
    };
    let refused = LinuxContainerResources {
        memory_limit_in_bytes: 64 * MB,
        ..cpuset("1000")
    };
    let mut runtime = node.daemon.runtime();
    let error = runtime
        .update_container_resources(request(refused))
        .await
        .unwrap_err();
    assert!(error.message().contains("1000"), "{error}");
    assert_eq!(told(&node, &id).await, expected);
    assert_eq!(limit(&id), Some(32 * MB));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_before_the_start_is_in_force_after_it() {
    let node = Node::new().await;
    for (made, changed, kernel) in [
        (32 * MB, 5 * MB, Some(5 * MB)),
        (5 * MB, 32 * MB, Some(32 * MB)),
        (5 * MB, -1, None),
    ] {
        let resources = |memory_limit_in_bytes| LinuxContainerResources {
            memory_limit_in_bytes,
            ..Default::default()
        };
        let mut config = node.config(&format!("from-{made}-to-{}", changed.unsigned_abs()), &node.image);
        config.linux.as_mut().unwrap().resources = Some(resources(made));
        let id = node.daemon.create(&node.sandbox, &node.pod, &config).await;
        update(&node, &id, resources(changed)).await;
        node.daemon.start_container(&id).await;
        assert_eq!(limit(&id), kernel, "{made} to {changed}");
        assert_eq!(told(&node, &id).await.memory_limit_in_bytes, changed.max(0));
    }
}
