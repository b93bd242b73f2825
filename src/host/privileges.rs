//! What the Engine's process may do: its OCI runtime inherits that from it.

use std::{fs, path::Path};

use tokio::net::UnixStream;

/// The Engine's process, as a name below `/proc`: who listens on the socket, or, where systemd does that for it, whoever
/// is called dockerd. Of an Engine that is not found this very process is taken for as privileged.
pub async fn engine(socket: &Path) -> String {
    let found = engine_pid(socket).await;
    found.map_or_else(|| "self".to_owned(), |pid| pid.to_string())
}

async fn engine_pid(socket: &Path) -> Option<i32> {
    let peer = UnixStream::connect(socket).await.ok()?.peer_cred().ok()?.pid()?;
    if is_engine(peer) {
        return Some(peer);
    }
    fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|pid| is_engine(*pid))
}

fn is_engine(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "dockerd")
}

/// The capabilities of a process, a bit for each by the kernel's numbers.
pub fn capabilities(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}
