#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use super::*;
use crate::stats::detail;

/// Of a container with a limit, Linux 6.18 with the controllers in v1 and pressure in a unified hierarchy.
const V1: &str = include_str!("v1.txt");

/// Of a container with a limit and a quota, Linux 6.1 with v2 alone.
const V2: &str = include_str!("v2.txt");

/// Makes the files in `directory`.
fn lay_out(directory: &Path, files: &str) {
    for file in files.split("@@ ").skip(1) {
        let (name, text) = file.split_once('\n').unwrap();
        fs::write(directory.join(name), text).unwrap();
    }
}

fn cgroup(directory: &Directory, unified: Option<&Directory>) -> Cgroup {
    let here = Some(directory.clone());
    Cgroup {
        cpu: here.clone(),
        cpuacct: here.clone(),
        memory: here.clone(),
        pids: here.clone(),
        blkio: here.clone(),
        hugetlb: here,
        unified: unified.cloned(),
    }
}

#[test]
fn a_sample_of_v1_has_pressure_where_there_is_a_unified_hierarchy() {
    let directory = tempfile::tempdir().unwrap();
    lay_out(directory.path(), V1);
    let path = directory.path().to_str().unwrap();
    let (v1, v2) = (Directory::V1(path.into()), Directory::V2(path.into()));
    let mut reader = Reader::new();
    let sample = reader
        .sample(&cgroup(&v1, Some(&v2)), &mut Kept::default())
        .unwrap();
    assert_eq!(sample.cpu, Some(43_001_614));
    let memory = sample.memory.unwrap();
    assert_eq!(memory.working_set(), 13_414_400 - 11_313_152);
    assert_eq!((memory.rss, memory.limit), (110_592, Some(67_108_864)));
    assert_eq!((memory.swap, memory.swap_limit), (Some(0), Some(67_108_864)));
    assert_eq!(sample.cpu_pressure.unwrap().full.total, 36_309);
    assert_eq!(sample.io_pressure.unwrap().some.total, 3018);
    assert_eq!(reader.tasks(&cgroup(&v1, None)), Some(2));
    // A machine without a unified hierarchy.
    let sample = reader.sample(&cgroup(&v1, None), &mut Kept::default()).unwrap();
    assert!(sample.cpu_pressure.is_none() && sample.memory.is_some());

    let found = detail::of_cgroup(&mut reader, &cgroup(&v1, Some(&v2)));
    assert_eq!(
        (found.cpu_user, found.cpu_system),
        (Some(16_000_000), Some(24_000_000))
    );
    assert_eq!(found.periods, Some(0));
    assert_eq!(
        (found.cpu_shares, found.cpu_period, found.cpu_quota),
        (Some(1024), Some(100_000), None)
    );
    assert_eq!(
        (found.memory_peak, found.memory_failures),
        (Some(14_749_696), Some(0))
    );
    assert_eq!(
        (found.memory_kernel, found.memory_reservation),
        (Some(659_456), None)
    );
    assert_eq!(
        (found.swap_limit, found.oom_kills, found.tasks_limit),
        (Some(134_217_728), Some(0), Some(0))
    );
    assert_eq!((found.io_bytes.len(), found.io_operations.len()), (6, 6));
}

#[test]
fn a_sample_of_v2_has_the_same() {
    let directory = tempfile::tempdir().unwrap();
    lay_out(directory.path(), V2);
    let v2 = Directory::V2(directory.path().to_str().unwrap().into());
    let cgroup = cgroup(&v2, Some(&v2));
    let mut reader = Reader::new();
    let sample = reader.sample(&cgroup, &mut Kept::default()).unwrap();
    assert_eq!(sample.cpu, Some(4_820_528_000));
    let memory = sample.memory.unwrap();
    assert_eq!(
        (memory.usage, memory.rss, memory.limit),
        (4_308_992, 16_384, Some(67_108_864))
    );
    assert_eq!(
        (memory.swap, memory.swap_limit, memory.faults),
        (Some(0), None, 65)
    );
    assert_eq!(sample.cpu_pressure.unwrap().some.average[0], 27.07);
    assert_eq!(reader.tasks(&cgroup), Some(1));

    let found = detail::of_cgroup(&mut reader, &cgroup);
    assert_eq!(
        (found.cpu_user, found.cpu_system),
        (Some(4_759_120_000), Some(61_408_000))
    );
    assert_eq!((found.periods, found.throttled_periods), (Some(98), Some(82)));
    assert_eq!(found.throttled, Some(3_960_737_000));
    assert_eq!(
        (found.cpu_shares, found.cpu_period, found.cpu_quota),
        (Some(2597), Some(100_000), Some(50_000))
    );
    assert_eq!(
        (found.memory_peak, found.memory_failures, found.oom_kills),
        (Some(4_456_448), Some(0), Some(0))
    );
    assert_eq!(
        (found.memory_reservation, found.swap_limit, found.tasks_limit),
        (None, Some(0), Some(0))
    );
    assert_eq!(found.huge_pages, [("2MB".into(), 0, None)]);
}

#[test]
fn what_is_gone_has_no_sample() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gone").to_str().unwrap().to_owned();
    for gone in [Directory::V1(path.clone()), Directory::V2(path)] {
        assert_eq!(
            Reader::new().sample(&cgroup(&gone, Some(&gone)), &mut Kept::default()),
            None
        );
    }
    assert_eq!(
        Reader::new().sample(&Cgroup::default(), &mut Kept::default()),
        None
    );
}

#[test]
fn a_file_larger_than_the_buffer_is_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    let text = "x".repeat(3 * USUAL);
    fs::write(directory.path().join("large"), &text).unwrap();
    let v2 = Directory::V2(directory.path().to_str().unwrap().into());
    assert_eq!(Reader::new().read(&v2, "large").unwrap(), text);
}

#[test]
fn a_file_that_is_kept_open_is_read_from_its_beginning_each_time() {
    let directory = tempfile::tempdir().unwrap();
    lay_out(directory.path(), V1);
    let v1 = Directory::V1(directory.path().to_str().unwrap().into());
    let (cgroup, mut kept, mut reader) = (cgroup(&v1, None), Kept::default(), Reader::new());
    let before = reader.sample(&cgroup, &mut kept).unwrap();
    fs::write(directory.path().join("cpuacct.usage"), "43001615\n").unwrap();
    let after = reader.sample(&cgroup, &mut kept).unwrap();
    assert_eq!((before.cpu, after.cpu), (Some(43_001_614), Some(43_001_615)));
    assert_eq!(before.memory, after.memory);
}
