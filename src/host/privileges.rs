//! What the Engine's process may do: its OCI runtime inherits that from it.

use std::{fs, path::Path};

use tokio::net::UnixStream;

/// What a process passes on to containers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Privileges {
    /// Its capabilities, a bit for each by the kernel's numbers.
    pub capabilities: Option<u64>,
    /// Its `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
}

impl Privileges {
    /// Those of the Engine at `socket`. Of an Engine that is not found this very process is taken for as privileged.
    pub async fn of_engine(socket: &Path) -> Self {
        let listener = listener(socket).await;
        // There may be thousands of processes.
        let look = move || {
            let proc = Path::new("/proc");
            let found = engine(proc, listener);
            Self::of(&proc.join(found.map_or_else(|| "self".to_owned(), |pid| pid.to_string())))
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    fn of(process: &Path) -> Self {
        let read = |name| fs::read_to_string(process.join(name)).ok();
        let status = read("status").unwrap_or_default();
        let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self {
            capabilities: set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()),
            oom_score_adj: read("oom_score_adj").and_then(|score| score.trim().parse().ok()),
        }
    }
}

/// Who listens on the socket: systemd, where that does it for the Engine.
async fn listener(socket: &Path) -> Option<i32> {
    UnixStream::connect(socket).await.ok()?.peer_cred().ok()?.pid()
}

/// The Engine's process, of those below `proc`: the listener, or else who is called dockerd.
///
/// So is an Engine that runs in a pod. It has other namespaces than this process: of processes, or, where the pod has the
/// host's, of mounts. The node's own may have the latter as well, if its unit says so.
fn engine(proc: &Path, listener: Option<i32>) -> Option<i32> {
    let is_dockerd = |pid: &i32| {
        let name = fs::read_to_string(proc.join(pid.to_string()).join("comm"));
        name.is_ok_and(|name| name.trim_end() == "dockerd")
    };
    if let Some(listener) = listener.filter(is_dockerd) {
        return Some(listener);
    }
    let namespace = |process: &str, kind: &str| fs::read_link(proc.join(process).join("ns").join(kind)).ok();
    let shares = |pid: &i32, kind: &str| {
        let own = namespace("self", kind);
        own.is_some() && own == namespace(&pid.to_string(), kind)
    };
    fs::read_dir(proc)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_dockerd(pid) && shares(pid, "pid"))
        .min_by_key(|pid| !shares(pid, "mnt"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_engine_in_a_pod_is_not_the_nodes() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, name: &str, pids: &str, mounts: &str| {
            let directory = proc.path().join(pid);
            fs::create_dir_all(directory.join("ns")).unwrap();
            fs::write(directory.join("comm"), format!("{name}\n")).unwrap();
            symlink(format!("pid:[{pids}]"), directory.join("ns/pid")).unwrap();
            symlink(format!("mnt:[{mounts}]"), directory.join("ns/mnt")).unwrap();
        };
        let found = |listener| engine(proc.path(), listener);
        process("self", "dockside", "1", "1");
        process("1", "systemd", "1", "1");
        process("50", "dockerd", "2", "2");
        assert_eq!(found(Some(1)), None, "a pod's");
        process("60", "dockerd", "1", "3");
        assert_eq!(found(Some(1)), Some(60), "the only one that may be the node's");
        process("70", "dockerd", "1", "1");
        assert_eq!(found(Some(1)), Some(70), "the node's");
        assert_eq!(found(Some(50)), Some(50), "whose socket it is");
    }
}
