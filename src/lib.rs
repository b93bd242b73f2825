//! dockside: a CRI v1 server in front of Docker Engine.
//!
//! A request comes in at [`grpc`], is checked and planned by the crate `translate`, is carried out by
//! [`sandbox`], [`container`] and [`image`] through [`engine`] and [`network`], and is answered.

pub mod app;
pub mod cli;
pub mod clock;
pub mod cni;
pub mod config;
pub mod container;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod grpc;
pub mod host;
pub mod image;
pub mod locks;
pub mod logging;
pub mod logs;
pub mod metrics;
pub mod network;
pub mod node;
pub mod reload;
pub mod sandbox;
pub mod stats;
pub mod status;
pub mod store;
pub mod streaming;
pub mod trace;
