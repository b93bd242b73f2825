//! The gRPC front end.

pub mod authority;
mod chunks;
mod deadline;
pub mod detach;
pub mod image;
pub mod listen;
mod meter;
pub mod runtime;
mod status;
