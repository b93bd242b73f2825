//! The gRPC transport against clients: how they are served, how long their calls may take, how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod deadline;
mod server;
mod shutdown;
