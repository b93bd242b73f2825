//! Resources with every value checked, before it is known whether they create or update.

use cri::LinuxContainerResources;

use super::writes::{self, CgroupWrite};
use crate::{Invalid, facts::EngineFacts};

/// A limit in bytes as CRI gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    /// 0.
    Unset,
    /// -1.
    Unlimited,
    Bytes(i64),
}

/// Checked values; `None` is one that is not given.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) cpu_period: Option<i64>,
    pub(super) cpu_quota: Option<i64>,
    pub(super) cpu_shares: Option<i64>,
    pub(super) cpuset_cpus: Option<String>,
    pub(super) cpuset_mems: Option<String>,
    pub(super) memory: Amount,
    /// Never below `memory`, and in bytes only beside a limit or, in an update, with `memory` unset.
    pub(super) swap: Amount,
    pub(super) oom_score_adj: Option<i64>,
    pub(super) writes: Vec<CgroupWrite>,
    pub(super) caveats: Vec<String>,
}

impl Checked {
    pub(super) fn read(asked: &LinuxContainerResources, facts: &EngineFacts) -> Result<Self, Invalid> {
        let memory = amount(asked.memory_limit_in_bytes, "memory_limit_in_bytes")?;
        let mut caveats = Vec::new();
        let mut writes = writes::hugepages(&asked.hugepage_limits, facts)?;
        writes.extend(writes::unified(&asked.unified, facts, &mut caveats)?);
        Ok(Self {
            cpu_period: cpu_period(asked.cpu_period)?,
            cpu_quota: cpu_quota(asked.cpu_quota),
            cpu_shares: cpu_shares(asked.cpu_shares)?,
            cpuset_cpus: cpuset(&asked.cpuset_cpus, "cpuset_cpus")?,
            cpuset_mems: cpuset(&asked.cpuset_mems, "cpuset_mems")?,
            memory,
            swap: swap(asked.memory_swap_limit_in_bytes, memory)?,
            oom_score_adj: oom_score_adj(asked.oom_score_adj)?,
            writes,
            caveats,
        })
    }
}

fn amount(value: i64, field: &str) -> Result<Amount, Invalid> {
    match value {
        0 => Ok(Amount::Unset),
        -1 => Ok(Amount::Unlimited),
        1.. => Ok(Amount::Bytes(value)),
        _ => Err(Invalid::new(
            field,
            format!("{value} is neither a number of bytes nor -1"),
        )),
    }
}

fn swap(value: i64, memory: Amount) -> Result<Amount, Invalid> {
    const FIELD: &str = "memory_swap_limit_in_bytes";
    let swap = amount(value, FIELD)?;
    match (swap, memory) {
        (Amount::Bytes(swap), Amount::Bytes(memory)) if swap < memory => {
            let why = format!(
                "{swap} counts memory and swap together, so it cannot be below the memory limit {memory}"
            );
            Err(Invalid::new(FIELD, why))
        }
        (Amount::Bytes(_), Amount::Unlimited) => Err(Invalid::new(
            FIELD,
            "cannot limit memory and swap together while memory is unlimited",
        )),
        _ => Ok(swap),
    }
}

/// Microseconds; the kernel's range.
fn cpu_period(value: i64) -> Result<Option<i64>, Invalid> {
    match value {
        0 => Ok(None),
        1_000..=1_000_000 => Ok(Some(value)),
        _ => Err(Invalid::new(
            "cpu_period",
            format!("{value} is not between 1000 and 1000000 microseconds"),
        )),
    }
}

/// Microseconds; whatever is negative means no limit, and the kernel's minimum stands for less.
fn cpu_quota(value: i64) -> Option<i64> {
    match value {
        0 => None,
        ..0 => Some(-1),
        1.. => Some(value.max(1_000)),
    }
}

/// The kernel's range: it would itself clamp on cgroup v1, and fail on v2.
fn cpu_shares(value: i64) -> Result<Option<i64>, Invalid> {
    match value {
        0 => Ok(None),
        1.. => Ok(Some(value.clamp(2, 262_144))),
        _ => Err(Invalid::new("cpu_shares", format!("{value} is negative"))),
    }
}

fn oom_score_adj(value: i64) -> Result<Option<i64>, Invalid> {
    match value {
        0 => Ok(None),
        -1000..=1000 => Ok(Some(value)),
        _ => Err(Invalid::new(
            "oom_score_adj",
            format!("{value} is not between -1000 and 1000"),
        )),
    }
}

/// A list such as `0-3,8`, which is what the Engine reads too.
fn cpuset(list: &str, field: &str) -> Result<Option<String>, Invalid> {
    if list.is_empty() {
        return Ok(None);
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let fits = list.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => matches!((number(first), number(last)), (Some(a), Some(b)) if a <= b),
        None => number(part).is_some(),
    });
    if fits {
        Ok(Some(list.to_owned()))
    } else {
        Err(Invalid::new(
            field,
            format!("{list:?} is not a list of numbers and ranges such as 0-3,8"),
        ))
    }
}
