//! The scenarios.

pub(crate) mod engine;
pub(crate) mod limits;
pub(crate) mod numbers;
pub(crate) mod reboot;
pub(crate) mod restart;
pub(crate) mod setup;
