//! CRI messages to Engine API requests, and the Engine's answers to CRI messages.
//!
//! Pure: no async, no IO, no clock, no environment, no randomness. What a translation has to know
//! beside the message comes in as an argument ([`facts`]), so that every rule is tested by a table.

#![forbid(unsafe_code)]

pub mod accounts;
mod annotations;
pub mod answer;
pub mod cgroup;
pub mod cni;
pub mod container;
pub mod devices;
pub mod dns;
mod error;
pub mod facts;
pub mod filter;
mod id;
pub mod image;
pub mod labels;
pub mod logs;
pub mod mounts;
pub mod namespaces;
pub mod node;
mod paths;
pub mod ports;
pub mod resources;
pub mod sandbox;
pub mod security;
pub mod signal;
pub mod stats;
pub mod status;
pub mod sysctls;
pub mod time;

pub use error::{Invalid, required};
pub use id::ContainerId;
