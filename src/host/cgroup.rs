//! A process's cgroup, for what the Engine API cannot say.

use std::path::{Path, PathBuf};

use tokio::fs;
use translate::resources::{AfterStart, CgroupWrite, Missing};

/// Writes what is to be written for the container whose first process is `pid`. Returns what failed.
pub async fn apply(pid: i32, after: &AfterStart) -> Vec<String> {
    let mut failures = Vec::new();
    if let Some(score) = after.oom_score_adj {
        let file = PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
        failures.extend(write(&file, &score.to_string(), Missing::Error).await.err());
    }
    if after.writes.is_empty() {
        return failures;
    }
    let read = |file: String| async move {
        fs::read_to_string(&file)
            .await
            .map_err(|error| format!("read {file}: {error}"))
    };
    let (membership, mounts) = match (
        read(format!("/proc/{pid}/cgroup")).await,
        read("/proc/self/mountinfo".into()).await,
    ) {
        (Ok(membership), Ok(mounts)) => (membership, mounts),
        (Err(error), _) | (_, Err(error)) => return vec![error],
    };
    for CgroupWrite { file, value, missing } in &after.writes {
        let controller = file.split('.').next().unwrap_or_default();
        let done = match directory(&membership, &mounts, controller) {
            Some(directory) => write(&directory.join(file), value, *missing).await,
            None if *missing == Missing::Ignore => Ok(()),
            None => Err(format!(
                "cannot set {file}: the container is in no cgroup with the {controller} controller"
            )),
        };
        failures.extend(done.err());
    }
    failures
}

async fn write(file: &Path, value: &str, missing: Missing) -> Result<(), String> {
    match fs::write(file, value).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && missing == Missing::Ignore => Ok(()),
        other => other.map_err(|error| format!("cannot write {value:?} to {}: {error}", file.display())),
    }
}

/// The directory of a process's cgroup for `controller`: by the process's `/proc/<pid>/cgroup` and this
/// one's `/proc/self/mountinfo`. On cgroup v2 all controllers have the same.
fn directory(membership: &str, mounts: &str, controller: &str) -> Option<PathBuf> {
    let mut unified = None;
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        if controllers.is_empty() {
            unified = Some(path);
        } else if controllers.split(',').any(|name| name == controller) {
            return mounted(mounts, "cgroup", Some(controller), path);
        }
    }
    mounted(mounts, "cgroup2", None, unified?)
}

/// Where the cgroup `path` of a hierarchy is found in the filesystem.
fn mounted(mounts: &str, kind: &str, controller: Option<&str>, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let options = (filesystem.next()? == kind).then(|| filesystem.nth(1))??;
        if controller.is_some_and(|wanted| options.split(',').all(|option| option != wanted)) {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // In a nested set-up a part of the hierarchy is mounted.
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new(point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 /docker/outer /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
";
    const V2: &str = "28 24 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn each_hierarchy_has_its_place() {
        let v1 = "5:memory:/docker/outer/pod/x\n4:cpu,cpuacct:/pod/x\n1:name=systemd:/pod/x\n";
        let found = |controller| directory(v1, V1, controller);
        assert_eq!(found("cpu"), Some("/sys/fs/cgroup/cpu,cpuacct/pod/x".into()));
        assert_eq!(found("memory"), Some("/sys/fs/cgroup/memory/pod/x".into()));
        assert_eq!(found("hugetlb"), None);
        let v2 = "0::/kubepods.slice/docker-1.scope\n";
        assert_eq!(
            directory(v2, V2, "memory"),
            Some("/sys/fs/cgroup/kubepods.slice/docker-1.scope".into())
        );
    }
}
