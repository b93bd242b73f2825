//! The scenarios.

pub(crate) mod apparmor;
pub(crate) mod cri_dockerd;
pub(crate) mod doctor;
pub(crate) mod engine;
pub(crate) mod extra;
pub(crate) mod kubelet;
pub(crate) mod limits;
pub(crate) mod numbers;
pub(crate) mod reboot;
pub(crate) mod restart;
pub(crate) mod selinux;
pub(crate) mod setup;
pub(crate) mod statistics;
pub(crate) mod switch;
