//! This node outside the Engine: files, processes, cgroups.

pub mod cgroup;
pub mod dial;
pub mod files;
pub mod kernel_log;
pub mod oom;
pub mod open_files;
pub mod privileges;
pub mod process;
pub mod selinux;
pub mod systemd;
pub mod usage;
