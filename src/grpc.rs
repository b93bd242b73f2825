//! The gRPC front end.

pub mod authority;
pub mod detach;
pub mod listen;
