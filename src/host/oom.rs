//! How far down `oom_score_adj` can go on this host.
//!
//! Without `CAP_SYS_RESOURCE` (a nested or rootless set-up) the kernel refuses to lower the value, and
//! a container with a negative one does not start. What counts is the Engine's process: its OCI
//! runtime inherits from it.

use std::fs;

use super::privileges;
use crate::config::Restrict;

/// The number of `CAP_SYS_RESOURCE` in the kernel's capability sets.
const CAP_SYS_RESOURCE: u64 = 24;

/// The lowest `oom_score_adj` for containers of the Engine whose process is `engine`; `None` means no limit.
pub fn floor(when: Restrict, engine: &str) -> Option<i32> {
    match when {
        Restrict::False => None,
        Restrict::True => Some(score("self").unwrap_or(0)),
        Restrict::Auto if may_lower(engine) => None,
        Restrict::Auto => Some(score(engine).unwrap_or(0)),
    }
}

/// Whether the process `engine` may set every `oom_score_adj`.
pub fn may_lower(engine: &str) -> bool {
    privileges::capabilities(engine).is_some_and(|set| set & (1 << CAP_SYS_RESOURCE) != 0)
}

fn score(process: &str) -> Option<i32> {
    fs::read_to_string(format!("/proc/{process}/oom_score_adj"))
        .ok()?
        .trim()
        .parse()
        .ok()
}
