//! What metrics tell of a container beyond its statistics.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use translate::{
    stats::{
        cgroup,
        hierarchy::{Cgroup, Directory},
        metrics::Detail,
    },
    time,
};

use super::{place::Place, read::Reader};
use crate::store::ContainerView;

/// All of a container's details.
pub(super) fn of(reader: &mut Reader, running: &ContainerView, place: &Place) -> Detail {
    let mut detail = of_cgroup(reader, &place.cgroup.cgroup);
    detail.started_at = time::nanoseconds(&running.inspect.state.started_at);
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.inspect.state.pid));
    detail.open_files = limits.ok().and_then(|limits| open_files(&limits));
    detail
}

pub(super) fn of_cgroup(reader: &mut Reader, cgroup: &Cgroup) -> Detail {
    let mut detail = Detail::default();
    if let Some(directory) = &cgroup.cpuacct {
        times(reader, directory, &mut detail);
    }
    if let Some(directory) = &cgroup.cpu {
        quota(reader, directory, &mut detail);
    }
    if let Some(directory) = &cgroup.memory {
        memory(reader, directory, &mut detail);
    }
    if let Some(directory) = &cgroup.blkio {
        devices(reader, directory, &mut detail);
    }
    if let Some(directory) = &cgroup.hugetlb {
        huge_pages(reader, directory, &mut detail);
    }
    if let Some(directory) = &cgroup.pids {
        let limit = reader.read(directory, "pids.max").ok();
        detail.tasks_limit = limit.map(|text| cgroup::limit(text).unwrap_or(0));
    }
    if let Some(directory) = cgroup.pids.as_ref().or(cgroup.unified.as_ref()) {
        processes(directory.path().into(), &mut detail);
    }
    detail
}

fn times(reader: &mut Reader, directory: &Directory, detail: &mut Detail) {
    match directory {
        Directory::V1(_) => {
            detail.cpu_user = reader.number(Some(directory), "cpuacct.usage_user");
            detail.cpu_system = reader.number(Some(directory), "cpuacct.usage_sys");
        }
        Directory::V2(_) => {
            let Ok(text) = reader.read(directory, "cpu.stat") else {
                return;
            };
            let nanoseconds = |key| Some(cgroup::field(text, key)?.saturating_mul(1000));
            detail.cpu_user = nanoseconds("user_usec");
            detail.cpu_system = nanoseconds("system_usec");
        }
    }
}

fn quota(reader: &mut Reader, directory: &Directory, detail: &mut Detail) {
    if let Ok(text) = reader.read(directory, "cpu.stat") {
        detail.periods = cgroup::field(text, "nr_periods");
        detail.throttled_periods = cgroup::field(text, "nr_throttled");
        let microseconds = cgroup::field(text, "throttled_usec").map(|time| time.saturating_mul(1000));
        detail.throttled = cgroup::field(text, "throttled_time").or(microseconds);
    }
    match directory {
        Directory::V1(_) => {
            detail.cpu_shares = reader.number(Some(directory), "cpu.shares");
            detail.cpu_period = reader.number(Some(directory), "cpu.cfs_period_us");
            // -1 is no number, and no quota.
            detail.cpu_quota = reader.number(Some(directory), "cpu.cfs_quota_us");
        }
        Directory::V2(_) => {
            detail.cpu_shares = reader.number(Some(directory), "cpu.weight").map(cgroup::shares);
            let limits = reader.read(directory, "cpu.max").ok().and_then(cgroup::cpu_max);
            if let Some((quota, period)) = limits {
                (detail.cpu_quota, detail.cpu_period) = (quota, Some(period));
            }
        }
    }
}

fn memory(reader: &mut Reader, directory: &Directory, detail: &mut Detail) {
    let here = Some(directory);
    match directory {
        Directory::V1(_) => {
            detail.memory_peak = reader.number(here, "memory.max_usage_in_bytes");
            detail.memory_failures = reader.number(here, "memory.failcnt");
            detail.memory_kernel = reader.number(here, "memory.kmem.usage_in_bytes");
            detail.memory_reservation = reader.limit(here, "memory.soft_limit_in_bytes");
            detail.swap_limit = Some(reader.limit(here, "memory.memsw.limit_in_bytes").unwrap_or(0));
            detail.oom_kills = reader
                .read(directory, "memory.oom_control")
                .ok()
                .and_then(|text| cgroup::field(text, "oom_kill"));
        }
        Directory::V2(_) => {
            detail.memory_peak = reader.number(here, "memory.peak");
            if let Ok(text) = reader.read(directory, "memory.events") {
                detail.memory_failures = cgroup::field(text, "max");
                detail.oom_kills = cgroup::field(text, "oom_kill");
            }
            detail.memory_reservation = reader.limit(here, "memory.low").filter(|&bytes| bytes > 0);
            detail.swap_limit = Some(reader.limit(here, "memory.swap.max").unwrap_or(0));
        }
    }
}

fn devices(reader: &mut Reader, directory: &Directory, detail: &mut Detail) {
    let mut read = |file| {
        reader
            .read(directory, file)
            .map(cgroup::blkio)
            .unwrap_or_default()
    };
    match directory {
        Directory::V1(_) => {
            detail.io_bytes = read("blkio.throttle.io_service_bytes_recursive");
            detail.io_operations = read("blkio.throttle.io_serviced_recursive");
        }
        Directory::V2(_) => {
            let read = reader.read(directory, "io.stat").map(cgroup::io_stat);
            (detail.io_bytes, detail.io_operations) = read.unwrap_or_default();
        }
    }
}

fn huge_pages(reader: &mut Reader, directory: &Directory, detail: &mut Detail) {
    let (used, most) = match directory {
        Directory::V1(_) => ("usage_in_bytes", Some("max_usage_in_bytes")),
        Directory::V2(_) => ("current", None),
    };
    let Ok(entries) = fs::read_dir(directory.path()) else {
        return;
    };
    let size = |entry: io::Result<fs::DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let size = name
            .strip_prefix("hugetlb.")?
            .strip_suffix(used)?
            .strip_suffix('.')?;
        (!size.contains('.')).then(|| size.to_owned())
    };
    let mut sizes: Vec<_> = entries.filter_map(size).collect();
    sizes.sort_unstable();
    for size in sizes {
        let mut read = |file: &str| reader.number(Some(directory), &format!("hugetlb.{size}.{file}"));
        if let Some(bytes) = read(used) {
            let most = most.and_then(&mut read);
            detail.huge_pages.push((size, bytes, most));
        }
    }
}

/// Counts the processes of a cgroup and of those below it, and their files. What ends meanwhile does not count.
fn processes(top: PathBuf, detail: &mut Detail) {
    let (mut processes, mut descriptors, mut sockets) = (0, 0, 0);
    let mut pending = vec![top];
    while let Some(directory) = pending.pop() {
        let Ok(pids) = fs::read_to_string(directory.join("cgroup.procs")) else {
            continue;
        };
        for pid in pids.lines() {
            processes += 1;
            let (all, of_sockets) = files(pid).unwrap_or_default();
            descriptors += all;
            sockets += of_sockets;
        }
        let below = fs::read_dir(&directory).into_iter().flatten().flatten();
        pending.extend(
            below
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    detail.processes = Some(processes);
    detail.descriptors = Some(descriptors);
    detail.sockets = Some(sockets);
}

/// How many files a process has open, and how many of these are sockets.
fn files(pid: &str) -> io::Result<(u64, u64)> {
    let (mut all, mut sockets) = (0, 0);
    for entry in fs::read_dir(Path::new("/proc").join(pid).join("fd"))? {
        let target = fs::read_link(entry?.path());
        all += 1;
        if target.is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"socket:")) {
            sockets += 1;
        }
    }
    Ok((all, sockets))
}

/// The soft limit of open files, of `/proc/<pid>/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             unlimited            unlimited            processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(
            open_files("Max open files            unlimited            unlimited\n"),
            None
        );
    }

    #[test]
    fn the_files_of_a_process_are_counted() {
        let (socket, _other) =
            std::os::unix::net::UnixStream::pair().unwrap_or_else(|error| panic!("{error}"));
        let (all, sockets) = files("self").unwrap_or_default();
        assert!(all > sockets && sockets >= 2, "{all} {sockets}");
        drop(socket);
    }
}
