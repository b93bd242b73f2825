//! Settings that only a file of the container's cgroup can take.

use std::collections::BTreeMap;

use cri::HugepageLimit;

use super::checked::Amount;
use crate::{
    Invalid,
    facts::{CgroupDriver, EngineFacts},
};

/// What it means that the cgroup has no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The request asked for something this kernel does not have.
    Error,
    /// Nothing is lost.
    Ignore,
}

/// One write into a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupWrite {
    /// The file's name, without any directory.
    pub file: String,
    /// What is written.
    pub value: String,
    /// What to do when there is no such file.
    pub missing: Missing,
}

impl CgroupWrite {
    fn new(file: impl Into<String>, value: impl Into<String>, missing: Missing) -> Self {
        Self {
            file: file.into(),
            value: value.into(),
            missing,
        }
    }

    /// The controller the file belongs to, which on cgroup v1 tells the hierarchy.
    pub fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }
}

/// The writes of `unified`, in the order of their names.
///
/// The keys are names of cgroup v2 files; v1 has other files, so there they are passed over with a
/// word: the kubelet sends them only where it sees v2, and a failure would stop every container.
pub(super) fn unified(
    asked: &BTreeMap<String, String>,
    facts: &EngineFacts,
    caveats: &mut Vec<String>,
) -> Result<Vec<CgroupWrite>, Invalid> {
    for (key, value) in asked {
        let refuse = |why: String| Err(Invalid::new(format!("unified[{key}]"), why));
        if !is_file(key) {
            return refuse("is not the name of a cgroup v2 file".to_owned());
        }
        if key.starts_with("cgroup.") {
            return refuse(
                "the cgroup's own files say which processes are in it and are not settings".to_owned(),
            );
        }
        if value.contains('\0') {
            return refuse(format!("{value:?} contains a NUL byte"));
        }
    }
    if facts.cgroup_version != 2 {
        caveats.extend(
            asked
                .keys()
                .map(|key| format!("unified {key}: cannot be set, the engine's host has cgroup v1")),
        );
        return Ok(Vec::new());
    }
    Ok(asked
        .iter()
        .map(|(key, value)| CgroupWrite::new(key, value, Missing::Error))
        .collect())
}

/// `controller.setting`, in characters that name a file and nothing else.
fn is_file(key: &str) -> bool {
    key.contains('.')
        && key.split('.').all(|word| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        })
}

/// The writes of hugepage limits.
///
/// The kubelet sends an entry with limit 0 for every page size of the node and sets the pod's cgroup
/// itself, so zeros are passed over; what remains is the second line of defence, and a page size that
/// the kernel does not have needs no limit.
pub(super) fn hugepages(asked: &[HugepageLimit], facts: &EngineFacts) -> Result<Vec<CgroupWrite>, Invalid> {
    let suffix = if facts.cgroup_version == 2 {
        "max"
    } else {
        "limit_in_bytes"
    };
    let mut writes = Vec::new();
    for (index, entry) in asked.iter().enumerate().filter(|(_, entry)| entry.limit > 0) {
        let digits = ["KB", "MB", "GB"]
            .iter()
            .find_map(|unit| entry.page_size.strip_suffix(unit));
        if !digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit())) {
            return Err(Invalid::new(
                format!("hugepage_limits[{index}].page_size"),
                format!("{:?} is not a page size such as 2MB", entry.page_size),
            ));
        }
        let file = format!("hugetlb.{}.{suffix}", entry.page_size);
        writes.push(CgroupWrite::new(file, entry.limit.to_string(), Missing::Ignore));
    }
    Ok(writes)
}

/// The writes of a memory limit that the Engine refuses as too small. On v2 swap is counted apart, so
/// the Engine's own setting of it stands; on v1 the sum follows the limit down.
pub(super) fn small_memory(limit: i64, swap: Amount, facts: &EngineFacts) -> Vec<CgroupWrite> {
    if facts.cgroup_version == 2 {
        return vec![CgroupWrite::new("memory.max", limit.to_string(), Missing::Error)];
    }
    let sum = match swap {
        Amount::Unset => Some(limit),
        Amount::Unlimited => None,
        Amount::Bytes(sum) => Some(sum),
    };
    let mut writes = vec![CgroupWrite::new(
        "memory.limit_in_bytes",
        limit.to_string(),
        Missing::Error,
    )];
    // Kernels without swap accounting have no such file.
    writes.extend(
        sum.map(|sum| CgroupWrite::new("memory.memsw.limit_in_bytes", sum.to_string(), Missing::Ignore)),
    );
    writes
}

/// What [`small_memory`] and [`no_swap`] write.
pub(super) const OF_MEMORY_LIMITS: &[&str] = &[
    "memory.limit_in_bytes",
    "memory.max",
    "memory.memsw.limit_in_bytes",
    "memory.swap.max",
];

/// Whether it is one of those.
pub fn is_of_memory_limit(write: &CgroupWrite) -> bool {
    OF_MEMORY_LIMITS.contains(&write.file.as_str())
}

/// The write that lasts where the OCI runtime's does not: with no swap allowed it leaves the systemd unit's own
/// limit unset, so the next daemon-reload would let the container swap (moby issue 51446).
pub(super) fn no_swap(memory: i64, sum: i64, facts: &EngineFacts) -> Option<CgroupWrite> {
    let needed = memory == sum && facts.cgroup_driver == CgroupDriver::Systemd && facts.cgroup_version == 2;
    // Kernels without swap accounting have no such file.
    needed.then(|| CgroupWrite::new("memory.swap.max", "0", Missing::Ignore))
}
