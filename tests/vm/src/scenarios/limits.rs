//! Resources of containers below the kubelet's slices.

use std::collections::BTreeMap;

use cri::{HugepageLimit, LinuxContainerResources, UpdateContainerResourcesRequest};

use crate::{
    cgroups::Cgroup,
    node::{cri, run, run_pod, slices},
};

const MIB: i64 = 1 << 20;

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
        unified: [("memory.high", "50331648"), ("memory.oom.group", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Default::default()
    }
}

/// What the kernel should say of those that the Engine knows, and systemd does not.
const OF_THE_SCOPE: &[(&str, &str)] = &[
    ("cpu.max", "50000 100000"),
    ("cpu.weight", "20"),
    ("cpuset.cpus", "0"),
    ("memory.max", "67108864"),
    ("memory.swap.max", "33554432"),
    ("hugetlb.2MB.max", "4194304"),
];

/// And of the unified keys, which are written behind both.
const UNIFIED: &[(&str, &str)] = &[("memory.high", "50331648"), ("memory.oom.group", "1")];

fn compare(cgroup: &Cgroup, expected: &[(&'static str, &str)], when: &str) {
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(file, value)| (*file, (*value).to_owned()))
        .collect();
    let values: BTreeMap<_, _> = cgroup.values(expected.keys().copied()).into_iter().collect();
    assert_eq!(values, expected, "{when}");
}

pub(crate) async fn limits_are_in_the_cgroups_of_the_kubelets_slices() {
    let pod = run_pod("limits", |config| {
        config.linux.as_mut().unwrap().resources = Some(limits());
    })
    .await;
    let (slices, cgroup) = (
        slices(&pod.config.metadata.as_ref().unwrap().uid),
        Cgroup::of(&pod.container),
    );
    assert_eq!(cgroup.path(), format!("{slices}/docker-{}.scope", pod.container));
    assert_eq!(
        Cgroup::of(&pod.sandbox).path(),
        format!("{slices}/docker-{}.scope", pod.sandbox)
    );
    compare(&cgroup, OF_THE_SCOPE, "after the start");
    compare(&cgroup, UNIFIED, "after the start");
    let told = cri().container_status(&pod.container).await.resources;
    let told = told.and_then(|resources| resources.linux).unwrap();
    assert_eq!(
        (
            told.cpu_period,
            told.cpu_quota,
            told.cpu_shares,
            told.memory_limit_in_bytes
        ),
        (100_000, 50_000, 512, 64 * MIB)
    );
    assert_eq!(
        (told.memory_swap_limit_in_bytes, told.cpuset_cpus.as_str()),
        (96 * MIB, "0")
    );
    // systemd writes what it knows of the scope once more.
    run(&["systemctl", "daemon-reload"]);
    compare(&cgroup, OF_THE_SCOPE, "after a daemon-reload");
    pod.remove().await;
}

/// With memory.oom.group, which the kubelet sets, a container that runs out of memory ends whole, and not only
/// the child that took too much. Why it ended is not compared: the Engine learns of it from a cgroup that has gone by then.
pub(crate) async fn a_container_that_runs_out_of_memory_ends_whole() {
    let pod = run_pod("hungry", |config| {
        // Not before the group is set, which happens right after the start.
        let eat = "while [ \"$(cat /sys/fs/cgroup/memory.oom.group)\" != 1 ]; do sleep 0.2; done; \
                   tail /dev/zero & sleep 1000";
        config.command = ["sh", "-c", eat].map(Into::into).into();
        config.linux.as_mut().unwrap().resources = Some(LinuxContainerResources {
            memory_limit_in_bytes: 16 * MIB,
            unified: [("memory.oom.group".to_owned(), "1".to_owned())].into(),
            ..Default::default()
        });
    })
    .await;
    let status = cri().ended(&pod.container).await;
    assert_eq!(status.exit_code, 137, "{status:?}");
    pod.remove().await;
}

pub(crate) async fn changed_limits_are_in_the_cgroup() {
    let pod = run_pod("changed", |config| {
        config.linux.as_mut().unwrap().resources = Some(limits());
    })
    .await;
    let cgroup = Cgroup::of(&pod.container);
    let change = |linux: LinuxContainerResources| {
        let request = UpdateContainerResourcesRequest {
            container_id: pod.container.clone(),
            linux: Some(linux),
            ..Default::default()
        };
        async { cri().runtime().update_container_resources(request).await.unwrap() }
    };
    change(LinuxContainerResources {
        cpu_quota: 150_000,
        cpu_period: 100_000,
        cpu_shares: 1024,
        memory_limit_in_bytes: 128 * MIB,
        ..Default::default()
    })
    .await;
    let expected = &[
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "39"),
        ("memory.max", "134217728"),
        ("memory.swap.max", "33554432"),
        ("hugetlb.2MB.max", "4194304"),
    ];
    compare(&cgroup, expected, "after the change");
    run(&["systemctl", "daemon-reload"]);
    compare(&cgroup, expected, "after the change and a daemon-reload");
    pod.remove().await;
}
