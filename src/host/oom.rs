//! How far down `oom_score_adj` can go on this host.
//!
//! Without `CAP_SYS_RESOURCE` (a nested or rootless set-up) the kernel refuses to lower the value, and
//! a container with a negative one does not start. What counts is the Engine's process: its OCI
//! runtime inherits from it.

use std::{fs, path::Path};

use tokio::net::UnixStream;

use crate::config::Restrict;

/// The number of `CAP_SYS_RESOURCE` in the kernel's capability sets.
const CAP_SYS_RESOURCE: u64 = 24;

/// The lowest `oom_score_adj` for containers of the Engine at `socket`; `None` means no limit.
pub async fn floor(when: Restrict, socket: &Path) -> Option<i32> {
    match when {
        Restrict::False => None,
        Restrict::True => Some(score("self").unwrap_or(0)),
        Restrict::Auto => {
            let engine = engine_pid(socket)
                .await
                .map_or_else(|| "self".to_owned(), |pid| pid.to_string());
            if may_lower(&engine) {
                None
            } else {
                Some(score(&engine).unwrap_or(0))
            }
        }
    }
}

/// Whether the Engine at `socket` may set every `oom_score_adj`.
pub async fn engine_may_lower(socket: &Path) -> bool {
    match engine_pid(socket).await {
        Some(pid) => may_lower(&pid.to_string()),
        None => may_lower("self"),
    }
}

/// The Engine's process: who listens on the socket, or, where systemd does that for it, whoever is
/// called dockerd.
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

fn may_lower(process: &str) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else {
        return false;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set & (1 << CAP_SYS_RESOURCE) != 0)
}

fn score(process: &str) -> Option<i32> {
    fs::read_to_string(format!("/proc/{process}/oom_score_adj"))
        .ok()?
        .trim()
        .parse()
        .ok()
}
