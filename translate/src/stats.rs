//! Statistics: what the kernel's files say, as CRI's messages.
//!
//! [`hierarchy`] finds a container's cgroups, [`cgroup`], [`layer`] and [`network`] read files' contents, [`messages`] makes
//! messages of them, [`metrics`] makes the samples that the kubelet knows from cAdvisor.

pub mod cgroup;
pub mod hierarchy;
pub mod layer;
pub mod messages;
pub mod metrics;
pub mod network;
mod rate;

pub use rate::Rate;

/// What a container has written: its own layer above the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerUsage {
    /// Bytes that are allocated on disk.
    pub bytes: u64,
    /// Files, directories and whatever else has an inode.
    pub inodes: u64,
    /// When it was counted, in nanoseconds since the epoch.
    pub timestamp: i64,
}
