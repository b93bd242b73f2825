//! dockside: a CRI v1 server in front of Docker Engine.

pub mod cni;
pub mod engine;
pub mod grpc;
