//! How far down `oom_score_adj` can go on this host.
//!
//! Without `CAP_SYS_RESOURCE` (a nested or rootless set-up) the kernel refuses to lower the value, and
//! a container with a negative one does not start. What counts is the Engine's process: its OCI
//! runtime inherits from it.

use std::fs;

use super::privileges::Privileges;
use crate::config::Restrict;

/// The number of `CAP_SYS_RESOURCE` in the kernel's capability sets.
const CAP_SYS_RESOURCE: u64 = 24;

/// The lowest `oom_score_adj` for containers of an Engine with these privileges; `None` means no limit.
pub fn floor(when: Restrict, engine: &Privileges) -> Option<i32> {
    match when {
        Restrict::False => None,
        Restrict::True => Some(own_score().unwrap_or(0)),
        Restrict::Auto if may_lower(engine) => None,
        Restrict::Auto => Some(engine.oom_score_adj.unwrap_or(0)),
    }
}

/// Whether an Engine with these privileges may set every `oom_score_adj`.
pub fn may_lower(engine: &Privileges) -> bool {
    engine
        .capabilities
        .is_some_and(|set| set & (1 << CAP_SYS_RESOURCE) != 0)
}

fn own_score() -> Option<i32> {
    fs::read_to_string("/proc/self/oom_score_adj")
        .ok()?
        .trim()
        .parse()
        .ok()
}
