#![allow(clippy::unwrap_used, clippy::expect_used)]

use cri::HugepageLimit;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::security::tests::facts;

const MIB: i64 = 1 << 20;

fn none() -> LinuxContainerResources {
    LinuxContainerResources::default()
}

fn memory(limit: i64, swap: i64) -> LinuxContainerResources {
    LinuxContainerResources {
        memory_limit_in_bytes: limit,
        memory_swap_limit_in_bytes: swap,
        ..none()
    }
}

fn v1() -> EngineFacts {
    EngineFacts {
        cgroup_version: 1,
        ..facts()
    }
}

fn made(asked: &LinuxContainerResources) -> ResourceSettings {
    create(Some(asked), &facts(), &HostView::default()).unwrap()
}

fn changed(
    asked: &LinuxContainerResources,
    memory: i64,
    memory_swap: i64,
) -> Result<ResourceUpdate, Invalid> {
    let current = answer::HostConfig {
        memory,
        memory_swap,
        ..Default::default()
    };
    update(Some(asked), &current, &facts(), &HostView::default())
}

fn files(writes: &[CgroupWrite]) -> Vec<(&str, &str)> {
    writes
        .iter()
        .map(|w| (w.file.as_str(), w.value.as_str()))
        .collect()
}

#[test]
fn nothing_asked() {
    let expected = ResourceSettings {
        oom_score_adj: Some(0),
        ..Default::default()
    };
    assert_eq!(create(None, &facts(), &HostView::default()).unwrap(), expected);
    assert_eq!(made(&none()), expected);
    assert!(expected.after_start.is_empty());
}

#[test]
fn cpu() {
    for ((period, quota, shares), expected) in [
        ((100_000, 50_000, 512), (Some(100_000), Some(50_000), Some(512))),
        ((1_000, -1, 2), (Some(1_000), Some(-1), Some(2))),
        ((0, -7, 1), (None, Some(-1), Some(2))),
        (
            (1_000_000, 1, i64::MAX),
            (Some(1_000_000), Some(1_000), Some(262_144)),
        ),
    ] {
        let asked = LinuxContainerResources {
            cpu_period: period,
            cpu_quota: quota,
            cpu_shares: shares,
            ..none()
        };
        let settings = made(&asked);
        assert_eq!(
            (settings.cpu_period, settings.cpu_quota, settings.cpu_shares),
            expected
        );
        let body = changed(&asked, 0, 0).unwrap().body;
        assert_eq!((body.cpu_period, body.cpu_quota, body.cpu_shares), expected);
    }
}

#[test]
fn cpusets() {
    for good in ["0", "0-3", "0-3,8,10-11", "5-5"] {
        let asked = LinuxContainerResources {
            cpuset_cpus: good.to_owned(),
            cpuset_mems: "0".to_owned(),
            ..none()
        };
        assert_eq!(made(&asked).cpuset_cpus.as_deref(), Some(good));
        assert_eq!(
            changed(&asked, 0, 0).unwrap().body.cpuset_mems.as_deref(),
            Some("0")
        );
    }
}

#[test]
fn memory_at_creation() {
    for (limit, swap, expected) in [
        (64 * MIB, 0, (Some(64 * MIB), Some(64 * MIB))),
        (64 * MIB, 64 * MIB, (Some(64 * MIB), Some(64 * MIB))),
        (64 * MIB, 80 * MIB, (Some(64 * MIB), Some(80 * MIB))),
        (64 * MIB, -1, (Some(64 * MIB), Some(-1))),
        (0, -1, (None, Some(-1))),
        (-1, -1, (None, Some(-1))),
        (-1, 0, (None, None)),
        (i64::MAX, i64::MAX, (Some(i64::MAX), Some(i64::MAX))),
    ] {
        let settings = made(&memory(limit, swap));
        assert_eq!(
            (settings.memory, settings.memory_swap),
            expected,
            "{limit} {swap}"
        );
        assert!(settings.after_start.is_empty() && settings.caveats.is_empty());
    }
}

#[test]
fn a_small_limit_is_lowered_by_a_write() {
    for (swap, facts, expected_swap, writes) in [
        (0, facts(), 6 * MIB, vec![("memory.max", "4194304")]),
        (5 * MIB, facts(), 7 * MIB, vec![("memory.max", "4194304")]),
        (-1, facts(), -1, vec![("memory.max", "4194304")]),
        (
            0,
            v1(),
            6 * MIB,
            vec![
                ("memory.limit_in_bytes", "4194304"),
                ("memory.memsw.limit_in_bytes", "4194304"),
            ],
        ),
        (-1, v1(), -1, vec![("memory.limit_in_bytes", "4194304")]),
    ] {
        let asked = memory(4 * MIB, swap);
        let settings = create(Some(&asked), &facts, &HostView::default()).unwrap();
        assert_eq!(
            (settings.memory, settings.memory_swap),
            (Some(6 * MIB), Some(expected_swap))
        );
        assert_eq!(files(&settings.after_start.writes), writes);
        assert_eq!(settings.caveats.len(), 1);
        let current = answer::HostConfig::default();
        let update = update(Some(&asked), &current, &facts, &HostView::default()).unwrap();
        assert_eq!(
            (update.body.memory, update.body.memory_swap),
            (Some(6 * MIB), Some(expected_swap))
        );
        assert_eq!(files(&update.after.writes), writes);
    }
}

#[test]
fn memory_in_updates() {
    for (asked, current, expected) in [
        ((0, 0), (64, 64), (None, None)),
        ((128, 128), (64, 64), (Some(128), Some(128))),
        ((128, 0), (64, 64), (Some(128), Some(128))),
        ((128, 0), (64, 96), (Some(128), Some(160))),
        ((32, 0), (64, 96), (Some(32), Some(64))),
        ((128, 0), (64, -1), (Some(128), Some(-1))),
        ((128, 0), (0, 0), (Some(128), Some(128))),
        ((0, 96), (64, 64), (Some(64), Some(96))),
    ] {
        let bytes = |(limit, swap): (i64, i64)| {
            let scaled = |n: i64| if n < 0 { n } else { n * MIB };
            (scaled(limit), scaled(swap))
        };
        let (limit, swap) = bytes(asked);
        let (now, now_swap) = bytes(current);
        let body = changed(&memory(limit, swap), now, now_swap).unwrap().body;
        let scaled = |n: Option<i64>| n.map(|n: i64| if n < 0 { n } else { n * MIB });
        let expected = (scaled(expected.0), scaled(expected.1));
        assert_eq!((body.memory, body.memory_swap), expected, "{asked:?} {current:?}");
    }
}

#[test]
fn a_limit_is_removed_by_one_that_the_kernel_calls_none() {
    const NONE: i64 = i64::MAX - 4095;
    // Asked, the Engine's limit and sum, what it is told, what is reported then.
    for (swap, now, told, reported) in [
        (0, (64, 64), (Some(NONE), Some(NONE)), (0, 0)),
        (0, (64, 96), (Some(NONE - 32 * MIB), Some(NONE)), (0, 0)),
        (0, (64, -1), (Some(NONE), Some(-1)), (0, -1)),
        (-1, (64, 96), (Some(NONE), Some(-1)), (0, -1)),
        (0, (0, 0), (None, None), (0, 0)),
        (-1, (0, 0), (None, Some(-1)), (0, -1)),
    ] {
        let scaled = |n: i64| if n < 0 { n } else { n * MIB };
        let (limit, sum) = (scaled(now.0), scaled(now.1));
        let update = changed(&memory(-1, swap), limit, sum).unwrap();
        assert_eq!(
            (update.body.memory, update.body.memory_swap),
            told,
            "{swap} {now:?}"
        );
        assert!(update.after.is_empty() && update.caveats.is_empty());
        let then = answer::HostConfig {
            memory: told.0.unwrap_or(limit),
            memory_swap: told.1.unwrap_or(sum),
            ..Default::default()
        };
        let says = report(&then).linux.unwrap();
        assert_eq!(
            (says.memory_limit_in_bytes, says.memory_swap_limit_in_bytes),
            reported
        );
        // The allowance outlives it.
        if now.1 > 0 && swap == 0 {
            let again = changed(&memory(limit, 0), then.memory, then.memory_swap)
                .unwrap()
                .body;
            assert_eq!((again.memory, again.memory_swap), (Some(limit), Some(sum)));
        }
    }
}

#[test]
fn a_new_limit_takes_the_place_of_what_was_written_for_the_old_one() {
    for (asked, superseded) in [
        (memory(4 * MIB, 0), true),
        (memory(64 * MIB, 0), true),
        (memory(-1, 0), true),
        (none(), false),
        (
            LinuxContainerResources {
                cpu_shares: 5,
                ..none()
            },
            false,
        ),
    ] {
        let update = changed(&asked, 6 * MIB, 6 * MIB).unwrap();
        assert_eq!(update.superseded.contains(&"memory.max"), superseded, "{asked:?}");
    }
    let mut recorded = memory(4 * MIB, 0);
    note(&mut recorded, &memory(64 * MIB, 0));
    note(&mut recorded, &none());
    assert_eq!(recorded, memory(64 * MIB, 0));
}

#[test]
fn refuses() {
    let hugepages = |page_size: &str| {
        let entry = HugepageLimit {
            page_size: page_size.to_owned(),
            limit: 1,
        };
        LinuxContainerResources {
            hugepage_limits: vec![HugepageLimit::default(), entry],
            ..none()
        }
    };
    let unified = |key: &str| LinuxContainerResources {
        unified: [(key.to_owned(), "1".to_owned())].into(),
        ..none()
    };
    let cpus = |list: &str| LinuxContainerResources {
        cpuset_cpus: list.to_owned(),
        ..none()
    };
    let mut table = vec![
        (
            LinuxContainerResources {
                cpu_period: 999,
                ..none()
            },
            "cpu_period".to_owned(),
        ),
        (
            LinuxContainerResources {
                cpu_period: -1,
                ..none()
            },
            "cpu_period".to_owned(),
        ),
        (
            LinuxContainerResources {
                cpu_period: 1_000_001,
                ..none()
            },
            "cpu_period".to_owned(),
        ),
        (
            LinuxContainerResources {
                cpu_shares: -1,
                ..none()
            },
            "cpu_shares".to_owned(),
        ),
        (
            LinuxContainerResources {
                oom_score_adj: 1001,
                ..none()
            },
            "oom_score_adj".to_owned(),
        ),
        (
            LinuxContainerResources {
                oom_score_adj: i64::MIN,
                ..none()
            },
            "oom_score_adj".to_owned(),
        ),
        (memory(-2, 0), "memory_limit_in_bytes".to_owned()),
        (memory(64 * MIB, -2), "memory_swap_limit_in_bytes".to_owned()),
        (memory(64 * MIB, 1), "memory_swap_limit_in_bytes".to_owned()),
        (memory(-1, 64 * MIB), "memory_swap_limit_in_bytes".to_owned()),
        (
            LinuxContainerResources {
                cpuset_mems: "x".into(),
                ..none()
            },
            "cpuset_mems".to_owned(),
        ),
    ];
    for list in [
        ",",
        "1,",
        "3-1",
        "-",
        "1-",
        "1-2-3",
        " 1",
        "1\n",
        "+1",
        "0-10:2/4",
        "4294967296",
    ] {
        table.push((cpus(list), "cpuset_cpus".to_owned()));
    }
    for size in ["", "MB", "2", "2mb", "../2MB", "2 MB", "-2MB"] {
        table.push((hugepages(size), "hugepage_limits[1].page_size".to_owned()));
    }
    for key in [
        "",
        "memory",
        ".max",
        "memory.",
        "../memory.max",
        "a/memory.max",
        "memory..max",
        "cgroup.procs",
    ] {
        table.push((unified(key), format!("unified[{key}]")));
    }
    for (asked, field) in table {
        let error = create(Some(&asked), &facts(), &HostView::default()).unwrap_err();
        assert_eq!(error.field, format!("config.linux.resources.{field}"), "{error}");
        let error = changed(&asked, 0, 0).unwrap_err();
        assert_eq!(error.field, format!("linux.{field}"), "{error}");
    }
}

#[test]
fn swap_needs_a_memory_limit() {
    let asked = memory(0, 64 * MIB);
    let error = create(Some(&asked), &facts(), &HostView::default()).unwrap_err();
    assert_eq!(error.field, "config.linux.resources.memory_swap_limit_in_bytes");
    for now in [0, 65 * MIB] {
        let error = changed(&asked, now, now).unwrap_err();
        assert_eq!(error.field, "linux.memory_swap_limit_in_bytes");
    }
    let error = update(
        None,
        &answer::HostConfig::default(),
        &facts(),
        &HostView::default(),
    )
    .unwrap_err();
    assert_eq!(error.field, "linux");
}

#[test]
fn unified_and_hugepages() {
    let asked = LinuxContainerResources {
        unified: [("memory.oom.group", "1"), ("io.max", "8:0 rbps=1\n8:16 rbps=2")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        hugepage_limits: [("2MB", 2 << 20), ("1GB", 0), ("strange", 0), ("64KB", u64::MAX)]
            .map(|(page_size, limit)| HugepageLimit {
                page_size: page_size.to_owned(),
                limit,
            })
            .into(),
        ..none()
    };
    let settings = made(&asked);
    let writes = &settings.after_start.writes;
    assert_eq!(
        files(writes),
        [
            ("hugetlb.2MB.max", "2097152"),
            ("hugetlb.64KB.max", "18446744073709551615"),
            ("io.max", "8:0 rbps=1\n8:16 rbps=2"),
            ("memory.oom.group", "1"),
        ]
    );
    let missing: Vec<_> = writes.iter().map(|w| w.missing).collect();
    assert_eq!(
        missing,
        [Missing::Ignore, Missing::Ignore, Missing::Error, Missing::Error]
    );
    let controllers: Vec<_> = writes.iter().map(CgroupWrite::controller).collect();
    assert_eq!(controllers, ["hugetlb", "hugetlb", "io", "memory"]);
    assert_eq!(changed(&asked, 0, 0).unwrap().after.writes, *writes);

    let on_v1 = create(Some(&asked), &v1(), &HostView::default()).unwrap();
    assert_eq!(
        files(&on_v1.after_start.writes)[0],
        ("hugetlb.2MB.limit_in_bytes", "2097152")
    );
    assert_eq!(on_v1.after_start.writes.len(), 2);
    assert_eq!(on_v1.caveats.len(), 2, "each key that cannot be set is named");
}

#[test]
fn oom_scores() {
    for (asked, floor, at_creation, in_update, caveats) in [
        (-998, None, -998, Some(-998), 0),
        (-998, Some(0), 0, Some(0), 1),
        (-998, Some(-500), -500, Some(-500), 1),
        (1000, Some(0), 1000, Some(1000), 0),
        (0, Some(-500), 0, None, 0),
        (0, Some(200), 200, None, 1),
    ] {
        let host = HostView {
            oom_score_adj_floor: floor,
            ..Default::default()
        };
        let asked = LinuxContainerResources {
            oom_score_adj: asked,
            ..none()
        };
        let settings = create(Some(&asked), &facts(), &host).unwrap();
        assert_eq!(settings.oom_score_adj, Some(at_creation));
        assert_eq!(settings.caveats.len(), caveats);
        let update = update(Some(&asked), &answer::HostConfig::default(), &facts(), &host).unwrap();
        assert_eq!(update.after.oom_score_adj, in_update, "zero changes nothing");
        assert_eq!(update.body, ContainerUpdateBody::default());
    }
}

#[test]
fn no_swap_outlives_a_daemon_reload() {
    let systemd = EngineFacts {
        cgroup_driver: CgroupDriver::Systemd,
        ..facts()
    };
    let old = EngineFacts {
        api: ApiVersion::V1_42,
        ..systemd.clone()
    };
    let annotations = |facts: &EngineFacts, asked| {
        create(Some(&asked), facts, &HostView::default())
            .unwrap()
            .annotations
    };
    let property = (
        "org.systemd.property.MemorySwapMax".to_owned(),
        "uint64 0".to_owned(),
    );
    assert_eq!(annotations(&systemd, memory(64 * MIB, 0)), [property].into());
    for (facts, asked) in [
        (&systemd, memory(64 * MIB, 65 * MIB)),
        (&systemd, memory(64 * MIB, -1)),
        (&systemd, none()),
        (&old, memory(64 * MIB, 0)),
        (&facts(), memory(64 * MIB, 0)),
    ] {
        assert!(annotations(facts, asked).is_empty());
    }
    // Whatever the Engine can be told, it is written, and what is written is kept.
    for (facts, asked, writes) in [
        (&old, memory(64 * MIB, 0), vec![("memory.swap.max", "0")]),
        (&old, memory(64 * MIB, 65 * MIB), vec![]),
        (&old, memory(0, 0), vec![]),
        (&facts(), memory(64 * MIB, 0), vec![]),
    ] {
        let settings = create(Some(&asked), facts, &HostView::default()).unwrap();
        assert_eq!(files(&settings.after_start.writes), writes);
        let current = answer::HostConfig::default();
        let update = update(Some(&asked), &current, facts, &HostView::default()).unwrap();
        assert_eq!(files(&update.after.writes), writes);
    }
}

#[test]
fn reports_what_the_engine_holds() {
    let inspect = json!({
        "CpuShares": 512, "CpuPeriod": 100_000, "CpuQuota": 50_000, "CpusetCpus": "0-1", "CpusetMems": "0",
        "Memory": 64 * MIB, "MemorySwap": -1, "OomScoreAdj": 999, "CgroupParent": "/kubepods",
    });
    let config: answer::HostConfig = serde_json::from_value(inspect).unwrap();
    let reported = report(&config).linux.unwrap();
    assert_eq!(
        reported,
        LinuxContainerResources {
            cpu_shares: 512,
            cpu_period: 100_000,
            cpu_quota: 50_000,
            cpuset_cpus: "0-1".to_owned(),
            cpuset_mems: "0".to_owned(),
            memory_limit_in_bytes: 64 * MIB,
            memory_swap_limit_in_bytes: -1,
            oom_score_adj: 999,
            ..none()
        }
    );
}

proptest! {
    #[test]
    fn never_panics(
        numbers in proptest::array::uniform6(any::<i64>()), now: i64, now_swap: i64,
        cpus in ".*", key in ".*", value in ".*", page_size in ".*", limit: u64,
    ) {
        let [cpu_period, cpu_quota, cpu_shares, memory, swap, oom_score_adj] = numbers;
        let all = LinuxContainerResources {
            cpu_period, cpu_quota, cpu_shares, oom_score_adj,
            memory_limit_in_bytes: memory,
            memory_swap_limit_in_bytes: swap,
            cpuset_cpus: cpus.clone(),
            cpuset_mems: cpus,
            hugepage_limits: vec![HugepageLimit { page_size, limit }],
            unified: [(key, value)].into(),
        };
        let _ = create(Some(&all), &facts(), &HostView::default());
        let _ = changed(&all, now, now_swap);
    }

    #[test]
    fn memory_is_never_above_its_sum(limit in 1..i64::MAX, swap in 0..i64::MAX, now in 0..i64::MAX, more: i64) {
        let asked = memory(limit, if swap < limit { 0 } else { swap });
        let settings = made(&asked);
        prop_assert!(settings.memory <= settings.memory_swap);
        prop_assert!(settings.memory >= Some(MINIMUM_MEMORY));
        let body = changed(&asked, now, now.saturating_add(more)).unwrap().body;
        prop_assert!(body.memory_swap == Some(-1) || body.memory <= body.memory_swap);
    }
}
