//! A process's cgroup, for what the Engine API cannot say.

mod keep;
mod values;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::io::Errno;
use translate::{resources::live, stats::hierarchy::Hierarchies};

pub use keep::{Held, Keeper};

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

/// Whether the process `pid` is the container's `id`; `None` if there is no such process.
///
/// The Engine's numbers of processes that have ended stay known, and belong to others later.
pub fn is_of_container(pid: i32, id: &str) -> io::Result<Option<bool>> {
    match std::fs::read_to_string(format!("/proc/{pid}/cgroup")) {
        Ok(membership) => Ok(Some(hierarchies()?.container(&membership, id).is_some())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It ended while it was read.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

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

/// Sets the `oom_score_adj` of a process.
fn score(pid: i32, value: i64) -> Result<(), String> {
    let file = format!("/proc/{pid}/oom_score_adj");
    std::fs::write(&file, value.to_string())
        .map_err(|error| format!("cannot write {value} to {file}: {error}"))
}

fn controller(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}
