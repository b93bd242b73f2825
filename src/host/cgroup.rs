//! A process's cgroup, for what the Engine API cannot say.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use tokio::{fs, io::AsyncWriteExt};
use translate::{
    resources::{AfterStart, CgroupWrite, Missing, live},
    stats::hierarchy::Hierarchies,
};

/// The hierarchies of this node. They are there before any pod and stay, so they are looked for once: the table
/// of mounts is long where many containers run.
pub fn hierarchies() -> Result<&'static Hierarchies, io::Error> {
    static FOUND: OnceLock<Hierarchies> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let mounts = std::fs::read_to_string(MOUNTS)?;
    Ok(FOUND.get_or_init(|| Hierarchies::parse(&mounts)))
}

/// Where the hierarchies are told.
pub const MOUNTS: &str = "/proc/self/mountinfo";

/// The texts of one file of the cgroup of the container whose first process is `pid`, and of the process's
/// `oom_score_adj`, by name; what cannot be read is left out, as the process may have ended.
pub async fn read(pid: i32, file: &'static str) -> BTreeMap<String, String> {
    // One way to another thread and back for all of them: statuses are asked for often.
    let read = move || {
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let membership = read(&PathBuf::from(format!("/proc/{pid}/cgroup")));
        let directory = membership.and_then(|text| hierarchies().ok()?.directory(&text, controller(file)));
        let texts = [
            (
                live::OOM_SCORE_ADJ,
                read(&PathBuf::from(format!("/proc/{pid}/oom_score_adj"))),
            ),
            (
                file,
                directory.and_then(|directory| read(&Path::new(directory.path()).join(file))),
            ),
        ];
        let found = texts.into_iter();
        found
            .filter_map(|(name, text)| Some((name.to_owned(), text?)))
            .collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

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
    let file = format!("/proc/{pid}/cgroup");
    match (fs::read_to_string(&file).await, hierarchies()) {
        (Ok(membership), Ok(mounts)) => failures.extend(write_all(&membership, mounts, &after.writes).await),
        (Err(error), _) => failures.push(format!("cannot read {file}: {error}")),
        (_, Err(error)) => failures.push(format!("cannot read {MOUNTS}: {error}")),
    }
    failures
}

async fn write_all(membership: &str, mounts: &Hierarchies, writes: &[CgroupWrite]) -> Vec<String> {
    let mut failures = Vec::new();
    for CgroupWrite { file, value, missing } in writes {
        let controller = controller(file);
        let done = match mounts.directory(membership, controller) {
            Some(directory) => write(&Path::new(directory.path()).join(file), value, *missing).await,
            None if *missing == Missing::Ignore => Ok(()),
            None => Err(format!(
                "cannot set {file}: the container is in no cgroup with the {controller} controller"
            )),
        };
        failures.extend(done.err());
    }
    failures
}

fn controller(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}

async fn write(file: &Path, value: &str, missing: Missing) -> Result<(), String> {
    // Never made where it is missing: a cgroup would answer that with another error.
    let write = async {
        let mut open = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(file)
            .await?;
        open.write_all(value.as_bytes()).await?;
        open.flush().await
    };
    match write.await {
        Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Ignore => Ok(()),
        other => other.map_err(|error| format!("cannot write {value:?} to {}: {error}", file.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write_of(file: &str, value: &str, missing: Missing) -> CgroupWrite {
        CgroupWrite {
            file: file.into(),
            value: value.into(),
            missing,
        }
    }

    #[tokio::test]
    async fn files_are_written_in_place_and_never_made() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("pod.slice/docker-1.scope");
        std::fs::create_dir_all(&directory).unwrap();
        for file in ["memory.high", "hugetlb.2MB.max", "oom_score_adj"] {
            std::fs::write(directory.join(file), "before, and longer\n").unwrap();
        }
        let mounts = Hierarchies::parse(&format!(
            "28 24 0:25 / {} rw,nosuid - cgroup2 cgroup2 rw\n",
            root.path().display()
        ));
        let writes = [
            write_of("memory.high", "1048576", Missing::Error),
            write_of("hugetlb.2MB.max", "0", Missing::Ignore),
            write_of("hugetlb.1GB.max", "0", Missing::Ignore),
            write_of("memory.none", "1", Missing::Error),
        ];
        let failures = write_all("0::/pod.slice/docker-1.scope\n", &mounts, &writes).await;
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].contains("memory.none"), "{failures:?}");
        let has = |file| std::fs::read_to_string(directory.join(file)).unwrap();
        assert_eq!(has("memory.high"), "1048576");
        assert_eq!(has("hugetlb.2MB.max"), "0");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 3);
        let failures = write_all("2:memory:/x\n", &mounts, &writes[..2]).await;
        assert!(
            failures[0].contains("no cgroup with the memory controller"),
            "{failures:?}"
        );
        assert_eq!(failures.len(), 1);
    }
}
