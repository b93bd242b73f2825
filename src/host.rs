//! This node outside the Engine: files, processes, cgroups.

pub mod cgroup;
pub mod dial;
pub mod files;
pub mod oom;
pub mod process;
pub mod systemd;
