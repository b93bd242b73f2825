//! CPU, memory and the rest: what the Engine takes, and what has to be written behind it.

use std::collections::HashMap;

use bollard_stubs::models::ContainerUpdateBody;
use cri::{ContainerResources, LinuxContainerResources};

use crate::{
    Invalid, answer,
    facts::{ApiVersion, CgroupDriver, EngineFacts, HostView},
};

mod checked;
pub mod live;
mod writes;

use checked::{Amount, Checked};
pub use writes::{CgroupWrite, Missing, is_of_memory_limit};

/// The smallest memory limit the Engine accepts, in bytes.
pub const MINIMUM_MEMORY: i64 = 6 << 20;

/// What the daemon writes on the host because the Engine's API has no word for it: right after a
/// container's start, or right after an update of a running one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AfterStart {
    /// Files of the container's cgroup, in this order.
    pub writes: Vec<CgroupWrite>,
    /// `/proc/<pid>/oom_score_adj` of its first process.
    pub oom_score_adj: Option<i64>,
}

impl AfterStart {
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.oom_score_adj.is_none()
    }
}

/// The resource part of the Engine's create request; `None` leaves a value unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSettings {
    /// Microseconds.
    pub cpu_period: Option<i64>,
    /// Microseconds per period, -1 for no limit.
    pub cpu_quota: Option<i64>,
    /// Relative weight.
    pub cpu_shares: Option<i64>,
    /// CPUs, as a list of ranges.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as a list of ranges.
    pub cpuset_mems: Option<String>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together, -1 for no limit.
    pub memory_swap: Option<i64>,
    /// -1000 to 1000, never below the host's floor.
    pub oom_score_adj: Option<i64>,
    /// `HostConfig.Annotations` made here, never from a request: they steer the OCI runtime.
    pub annotations: HashMap<String, String>,
    /// What is written once the container runs.
    pub after_start: AfterStart,
    /// What differs from what was asked, for the log.
    pub caveats: Vec<String>,
}

/// The Engine's update request and what goes with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceUpdate {
    /// `POST /containers/{id}/update`; nothing set means that the Engine need not be asked.
    pub body: ContainerUpdateBody,
    /// Files of its cgroup that only the Engine and `after` are to set from now on.
    pub superseded: &'static [&'static str],
    /// What is written afterwards, if the container runs, beside what was written before.
    pub after: AfterStart,
    /// What differs from what was asked, for the log.
    pub caveats: Vec<String>,
}

/// The resources of a new container.
///
/// Zero means that a value is not given. A memory limit without a swap limit allows no swap: the Engine
/// would allow as much again. A limit below the Engine's minimum is created at the minimum and lowered
/// by a write, so that containers run here as they do elsewhere.
pub fn create(
    resources: Option<&LinuxContainerResources>,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<ResourceSettings, Invalid> {
    let absent = LinuxContainerResources::default();
    let checked = Checked::read(resources.unwrap_or(&absent), facts)
        .map_err(|error| error.within("config.linux.resources"))?;
    let mut after_start = AfterStart::default();
    let mut caveats = checked.caveats;
    let (memory, memory_swap) = match (checked.memory, checked.swap) {
        (Amount::Bytes(limit), swap) => {
            let memory = at_least_minimum(limit, swap, facts, &mut after_start, &mut caveats);
            (Some(memory), Some(total(memory, limit, swap)))
        }
        (_, Amount::Bytes(swap)) => {
            let why = format!("{swap} is given without memory_limit_in_bytes");
            return Err(Invalid::new(
                "config.linux.resources.memory_swap_limit_in_bytes",
                why,
            ));
        }
        (_, Amount::Unlimited) => (None, Some(-1)),
        (_, Amount::Unset) => (None, None),
    };
    if let (Some(memory), Some(swap)) = (memory, memory_swap) {
        after_start.writes.extend(writes::no_swap(memory, swap, facts));
    }
    after_start.writes.extend(checked.writes);
    Ok(ResourceSettings {
        cpu_period: checked.cpu_period,
        cpu_quota: checked.cpu_quota,
        cpu_shares: checked.cpu_shares,
        cpuset_cpus: checked.cpuset_cpus,
        cpuset_mems: checked.cpuset_mems,
        memory,
        memory_swap,
        oom_score_adj: Some(permitted_score(
            checked.oom_score_adj.unwrap_or(0),
            host,
            &mut caveats,
        )),
        annotations: no_swap_annotation(memory, memory_swap, facts),
        after_start,
        caveats,
    })
}

/// A change of a container's resources; `current` is what the Engine says of it now.
///
/// Zero and empty mean unchanged. Memory without swap keeps the swap allowance of before; -1 takes the
/// memory limit away. The Engine reads zero as unchanged and refuses -1, so it is told a limit that the kernel takes
/// for none: then it and systemd know of it, and no later update or reload brings the old one back.
pub fn update(
    resources: Option<&LinuxContainerResources>,
    current: &answer::HostConfig,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<ResourceUpdate, Invalid> {
    let resources =
        resources.ok_or_else(|| Invalid::new("linux", "is missing, so nothing says what to change"))?;
    let checked = Checked::read(resources, facts).map_err(|error| error.within("linux"))?;
    let mut after = AfterStart::default();
    let mut caveats = checked.caveats;
    let (memory, memory_swap) = match (checked.memory, checked.swap) {
        (Amount::Bytes(limit), swap) => {
            let swap = if swap == Amount::Unset {
                kept(limit, current)
            } else {
                swap
            };
            let memory = at_least_minimum(limit, swap, facts, &mut after, &mut caveats);
            (Some(memory), Some(total(memory, limit, swap)))
        }
        (Amount::Unlimited, swap) if current.memory > 0 => {
            let (memory, swap) = removed(swap, current);
            (Some(memory), Some(swap))
        }
        (Amount::Unlimited, swap) => (None, (swap == Amount::Unlimited).then_some(-1)),
        (Amount::Unset, Amount::Bytes(swap)) => {
            let memory = current.memory;
            if memory <= 0 || swap < memory {
                let why = format!("{swap} is below the memory limit, which is {memory}; give both together");
                return Err(Invalid::new("linux.memory_swap_limit_in_bytes", why));
            }
            (Some(memory), Some(swap))
        }
        (Amount::Unset, Amount::Unlimited) => (None, Some(-1)),
        (Amount::Unset, Amount::Unset) => (None, None),
    };
    // What was written for an earlier limit would pass the new one by.
    let superseded = if memory.is_some() || memory_swap.is_some() {
        writes::OF_MEMORY_LIMITS
    } else {
        &[]
    };
    if let (Some(memory), Some(swap)) = (memory, memory_swap) {
        after.writes.extend(writes::no_swap(memory, swap, facts));
    }
    after.writes.extend(checked.writes);
    after.oom_score_adj = checked
        .oom_score_adj
        .map(|asked| permitted_score(asked, host, &mut caveats));
    let body = ContainerUpdateBody {
        cpu_period: checked.cpu_period,
        cpu_quota: checked.cpu_quota,
        cpu_shares: checked.cpu_shares,
        cpuset_cpus: checked.cpuset_cpus,
        cpuset_mems: checked.cpuset_mems,
        memory,
        memory_swap,
        ..Default::default()
    };
    Ok(ResourceUpdate {
        body,
        superseded,
        after,
        caveats,
    })
}

/// Notes what an update said that the Engine does not keep: keys and page sizes take the place of
/// earlier ones of the same name, and a limit that of one below the Engine's minimum.
pub fn note(recorded: &mut LinuxContainerResources, update: &LinuxContainerResources) {
    for (recorded, update) in [
        (&mut recorded.memory_limit_in_bytes, update.memory_limit_in_bytes),
        (
            &mut recorded.memory_swap_limit_in_bytes,
            update.memory_swap_limit_in_bytes,
        ),
    ] {
        if update != 0 {
            *recorded = update;
        }
    }
    recorded.unified.extend(update.unified.clone());
    for limit in &update.hugepage_limits {
        recorded
            .hugepage_limits
            .retain(|known| known.page_size != limit.page_size);
        recorded.hugepage_limits.push(limit.clone());
    }
}

/// What ContainerStatus says of a container's resources: the values of its creation or of its last
/// update. Unified keys and hugepage limits are unknown to the Engine and are for the caller to add.
pub fn report(config: &answer::HostConfig) -> ContainerResources {
    // A limit that was removed.
    let (memory, swap) = if config.memory >= live::NO_LIMIT {
        (0, config.memory_swap.min(0))
    } else {
        (config.memory, config.memory_swap)
    };
    ContainerResources {
        linux: Some(LinuxContainerResources {
            cpu_period: config.cpu_period,
            cpu_quota: config.cpu_quota,
            cpu_shares: config.cpu_shares,
            memory_limit_in_bytes: memory,
            oom_score_adj: config.oom_score_adj,
            cpuset_cpus: config.cpuset_cpus.clone(),
            cpuset_mems: config.cpuset_mems.clone(),
            memory_swap_limit_in_bytes: swap,
            ..Default::default()
        }),
        windows: None,
    }
}

/// The limit to tell the Engine; a smaller one is left to be written.
fn at_least_minimum(
    limit: i64,
    swap: Amount,
    facts: &EngineFacts,
    after: &mut AfterStart,
    caveats: &mut Vec<String>,
) -> i64 {
    if limit >= MINIMUM_MEMORY {
        return limit;
    }
    after.writes.extend(writes::small_memory(limit, swap, facts));
    caveats.push(format!(
        "memory limit: {limit} bytes is below the engine's minimum of {MINIMUM_MEMORY}, so it is set in the \
         cgroup only, once the container runs"
    ));
    MINIMUM_MEMORY
}

/// Memory and swap together, where `memory` may have been raised from `limit`.
const fn total(memory: i64, limit: i64, swap: Amount) -> i64 {
    match swap {
        Amount::Unset => memory,
        Amount::Unlimited => -1,
        Amount::Bytes(swap) => memory.saturating_add(swap - limit),
    }
}

/// A limit that is none, and the sum that leaves the container's allowance of swap as `swap` says, or as it was.
const fn removed(swap: Amount, current: &answer::HostConfig) -> (i64, i64) {
    match (swap, current.memory_swap) {
        (Amount::Unlimited, _) | (_, -1) => (live::UNLIMITED, -1),
        (_, sum) if sum > current.memory => (
            live::UNLIMITED.saturating_sub(sum - current.memory),
            live::UNLIMITED,
        ),
        _ => (live::UNLIMITED, live::UNLIMITED),
    }
}

/// The swap limit that keeps a container's allowance when only its memory changes.
const fn kept(limit: i64, current: &answer::HostConfig) -> Amount {
    match current.memory_swap {
        -1 => Amount::Unlimited,
        swap if current.memory > 0 && swap > current.memory => {
            Amount::Bytes(limit.saturating_add(swap - current.memory))
        }
        _ => Amount::Unset,
    }
}

/// The asked value, or the lowest that may be set here. The Engine always sets one, 0 if none is given.
fn permitted_score(asked: i64, host: &HostView, caveats: &mut Vec<String>) -> i64 {
    let floor = host.oom_score_adj_floor.map_or(i64::MIN, i64::from);
    if asked < floor {
        caveats.push(format!(
            "oom_score_adj: {asked} is not permitted on this host, {floor} is set"
        ));
    }
    asked.max(floor)
}

/// With no swap allowed, runc leaves the systemd unit's own swap limit unset, and the next
/// daemon-reload lets the container swap (moby issue 51446); the property closes that.
fn no_swap_annotation(
    memory: Option<i64>,
    memory_swap: Option<i64>,
    facts: &EngineFacts,
) -> HashMap<String, String> {
    let needed = memory.is_some()
        && memory == memory_swap
        && facts.cgroup_driver == CgroupDriver::Systemd
        && facts.cgroup_version == 2
        && facts.api >= ApiVersion::V1_43;
    let property = (
        "org.systemd.property.MemorySwapMax".to_owned(),
        "uint64 0".to_owned(),
    );
    needed.then_some(property).into_iter().collect()
}

#[cfg(test)]
mod tests;
