//! Resources of containers below the kubelet's slices, and who else writes there.

use cri::{HugepageLimit, LinuxContainerResources, UpdateContainerResourcesRequest};

use crate::{
    cgroups::Cgroup,
    node::{Pod, SERVICE, cri, engine, recovers, run, run_pod, slices},
};

const MIB: i64 = 1 << 20;

fn unified(keys: &[(&str, &str)]) -> LinuxContainerResources {
    LinuxContainerResources {
        unified: keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Default::default()
    }
}

/// What the kubelet gives a container of a burstable pod.
fn limits() -> LinuxContainerResources {
    LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 64 * MIB,
        memory_swap_limit_in_bytes: 96 * MIB,
        oom_score_adj: 900,
        cpuset_cpus: "0".into(),
        hugepage_limits: vec![HugepageLimit {
            page_size: "2MB".into(),
            limit: 4 << 20,
        }],
        ..unified(UNIFIED)
    }
}

/// What the kernel should say of those that the Engine knows, and of pages, which systemd does not.
const OF_THE_SCOPE: &[(&str, &str)] = &[
    ("cpu.max", "50000 100000"),
    ("cpu.weight", "20"),
    ("cpuset.cpus", "0"),
    ("memory.max", "67108864"),
    ("memory.swap.max", "33554432"),
    ("hugetlb.2MB.max", "4194304"),
];

/// And of the unified keys, which are written behind both: those that systemd has a property for, and one that it has not.
const UNIFIED: &[(&str, &str)] = &[
    ("memory.high", "50331648"),
    ("memory.low", "8388608"),
    ("memory.min", "4194304"),
    ("memory.oom.group", "1"),
    ("pids.max", "500"),
];

/// What systemd makes of them.
const UNSET: &[(&str, &str)] = &[("memory.high", "max"), ("memory.oom.group", "0")];

async fn pod(name: &str, resources: LinuxContainerResources) -> (Pod, Cgroup) {
    let pod = run_pod(name, |config| {
        config.linux.as_mut().unwrap().resources = Some(resources);
    })
    .await;
    let cgroup = Cgroup::of(&pod.container);
    (pod, cgroup)
}

async fn update(pod: &Pod, linux: LinuxContainerResources) {
    let request = UpdateContainerResourcesRequest {
        container_id: pod.container.clone(),
        linux: Some(linux),
        ..Default::default()
    };
    cri().runtime().update_container_resources(request).await.unwrap();
}

async fn told(pod: &Pod) -> LinuxContainerResources {
    let resources = cri().container_status(&pod.container).await.resources;
    resources.and_then(|resources| resources.linux).unwrap()
}

fn reload() {
    // systemd sets again all that it knows of.
    run(&["systemctl", "daemon-reload"]);
}

pub(crate) async fn limits_are_in_the_cgroups_of_the_kubelets_slices() {
    let (pod, cgroup) = pod("limits", limits()).await;
    let slices = slices(&pod.config.metadata.as_ref().unwrap().uid);
    assert_eq!(cgroup.path(), format!("{slices}/docker-{}.scope", pod.container));
    assert_eq!(
        Cgroup::of(&pod.sandbox).path(),
        format!("{slices}/docker-{}.scope", pod.sandbox)
    );
    cgroup.comes_to(OF_THE_SCOPE, "after the start").await;
    cgroup.comes_to(UNIFIED, "after the start").await;
    let told = told(&pod).await;
    let expected = limits();
    assert_eq!(
        (&told.unified, &told.hugepage_limits, &told.cpuset_cpus),
        (
            &expected.unified,
            &expected.hugepage_limits,
            &expected.cpuset_cpus
        )
    );
    assert_eq!(
        (
            told.cpu_period,
            told.cpu_quota,
            told.cpu_shares,
            told.oom_score_adj
        ),
        (100_000, 50_000, 512, 900)
    );
    assert_eq!(
        (told.memory_limit_in_bytes, told.memory_swap_limit_in_bytes),
        (64 * MIB, 96 * MIB)
    );
    reload();
    cgroup.comes_to(OF_THE_SCOPE, "after a daemon-reload").await;
    cgroup.comes_to(UNIFIED, "after a daemon-reload").await;
    // An update by hand, of which dockside hears nothing.
    let change = serde_json::json!({ "CpuShares": 2048 });
    engine().ask(
        "POST",
        &format!("/containers/{}/update", pod.container),
        Some(&change),
    );
    cgroup
        .comes_to(&[("cpu.weight", "79")], "after an update by hand")
        .await;
    cgroup.comes_to(UNIFIED, "after an update by hand").await;
    pod.remove().await;
}

pub(crate) async fn changed_limits_are_in_the_cgroup_and_stay() {
    let (pod, cgroup) = pod("changed", limits()).await;
    update(
        &pod,
        LinuxContainerResources {
            cpu_quota: 150_000,
            cpu_period: 100_000,
            cpu_shares: 1024,
            memory_limit_in_bytes: 128 * MIB,
            ..unified(&[("memory.high", "100663296")])
        },
    )
    .await;
    let expected = &[
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "39"),
        ("memory.max", "134217728"),
        ("memory.swap.max", "33554432"),
        ("hugetlb.2MB.max", "4194304"),
        ("memory.high", "100663296"),
        ("memory.low", "8388608"),
        ("memory.oom.group", "1"),
    ];
    cgroup.comes_to(expected, "after the change").await;
    let says = told(&pod).await;
    assert_eq!(
        (
            says.cpu_quota,
            says.cpu_shares,
            says.memory_limit_in_bytes,
            says.memory_swap_limit_in_bytes
        ),
        (150_000, 1024, 128 * MIB, 160 * MIB)
    );
    assert_eq!(says.unified["memory.high"], "100663296");
    reload();
    cgroup
        .comes_to(expected, "after the change and a daemon-reload")
        .await;

    // What happens while no dockside is there is made good by the next one, changes included.
    run(&["systemctl", "stop", "dockside.socket", SERVICE]);
    reload();
    cgroup.comes_to(UNSET, "with nobody there to set it").await;
    run(&["systemctl", "start", "dockside.socket", SERVICE]);
    recovers().await;
    cgroup.comes_to(expected, "after a start of dockside").await;
    reload();
    cgroup
        .comes_to(expected, "after a start of dockside and a daemon-reload")
        .await;

    // A limit that is taken away does not come back, and one that is set again holds.
    update(
        &pod,
        LinuxContainerResources {
            memory_limit_in_bytes: -1,
            ..Default::default()
        },
    )
    .await;
    // As much less than the kernel's largest limit as swap is allowed.
    let none = &[
        ("memory.max", "9223372036821217280"),
        ("memory.swap.max", "33554432"),
        ("memory.oom.group", "1"),
    ];
    cgroup.comes_to(none, "without a limit").await;
    reload();
    update(
        &pod,
        LinuxContainerResources {
            cpu_shares: 512,
            ..Default::default()
        },
    )
    .await;
    cgroup
        .comes_to(none, "without a limit, after a daemon-reload and an update")
        .await;
    assert_eq!(told(&pod).await.memory_limit_in_bytes, 0);
    update(
        &pod,
        LinuxContainerResources {
            memory_limit_in_bytes: 64 * MIB,
            ..Default::default()
        },
    )
    .await;
    let again = &[
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.oom.group", "1"),
    ];
    cgroup.comes_to(again, "with a limit again").await;
    pod.remove().await;
}

/// A kubelet with `NoSwap` gives equal limits, for which the OCI runtime leaves systemd's property unset. And limits
/// that are smaller than the Engine allows are the kernel's all the same.
pub(crate) async fn no_swap_and_small_limits_outlive_a_daemon_reload() {
    let equal = |bytes| LinuxContainerResources {
        memory_limit_in_bytes: bytes,
        memory_swap_limit_in_bytes: bytes,
        ..Default::default()
    };
    let (pod, cgroup) = pod("noswap", equal(64 * MIB)).await;
    let limited = &[("memory.max", "67108864"), ("memory.swap.max", "0")];
    cgroup.comes_to(limited, "after the start").await;
    reload();
    cgroup.comes_to(limited, "after a daemon-reload").await;
    update(&pod, equal(5 * MIB)).await;
    let small = &[("memory.max", "5242880"), ("memory.swap.max", "0")];
    cgroup.comes_to(small, "after an update").await;
    reload();
    cgroup
        .comes_to(small, "after an update and a daemon-reload")
        .await;
    let says = told(&pod).await;
    assert_eq!(
        (says.memory_limit_in_bytes, says.memory_swap_limit_in_bytes),
        (5 * MIB, 5 * MIB)
    );
    update(
        &pod,
        LinuxContainerResources {
            memory_limit_in_bytes: 64 * MIB,
            memory_swap_limit_in_bytes: 80 * MIB,
            ..Default::default()
        },
    )
    .await;
    let more = &[("memory.max", "67108864"), ("memory.swap.max", "16777216")];
    cgroup.comes_to(more, "with swap").await;
    reload();
    cgroup.comes_to(more, "with swap, after a daemon-reload").await;
    pod.remove().await;
}

/// With memory.oom.group, which the kubelet sets, a container that runs out of memory ends whole, and not only
/// the child that took too much. The Engine learns of it from a cgroup that is gone by then.
pub(crate) async fn a_container_that_runs_out_of_memory_ends_whole() {
    // Not before the group is set, which happens right after the start.
    let eat = "while [ \"$(cat /sys/fs/cgroup/memory.oom.group)\" != 1 ]; do sleep 0.2; done; \
               tail /dev/zero & sleep 1000";
    let kill = "trap '' TERM; sleep 1000 & wait";
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 16 * MIB,
        ..unified(&[("memory.oom.group", "1")])
    };
    let start = |name, script: &'static str| {
        let resources = resources.clone();
        run_pod(name, |config| {
            config.command = ["sh", "-c", script].map(Into::into).into();
            config.linux.as_mut().unwrap().resources = Some(resources);
        })
    };
    let (hungry, killed) = (start("hungry", eat).await, start("killed", kill).await);
    let status = cri().ended(&hungry.container).await;
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (137, "OOMKilled"),
        "{status:?}"
    );
    // Nobody else's end is taken for one of that kind.
    engine().ask("POST", &format!("/containers/{}/kill", killed.container), None);
    let status = cri().ended(&killed.container).await;
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (137, "Error"),
        "{status:?}"
    );
    // A dockside that starts finds it out again.
    run(&["systemctl", "restart", SERVICE]);
    recovers().await;
    let status = cri().container_status(&hungry.container).await;
    assert_eq!(status.reason, "OOMKilled", "{status:?}");
    hungry.remove().await;
    killed.remove().await;
}
