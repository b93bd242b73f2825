//! The Container Runtime Interface, version `runtime.v1`: messages and services, nothing else.
//!
//! `runtime.proto` is this project's own writing of the wire contract in `wire.tsv`; a test
//! compares the two. Field names and numbers follow Kubernetes' CRI.

// `allow`, not `expect`: which lints fire depends on the features and on the generator's version.
#[allow(clippy::all, missing_docs, unused_qualifications, reason = "generated code")]
mod generated {
    tonic::include_proto!("runtime.v1");
}

pub use generated::*;

// `allow`, not `expect`: as above.
#[allow(clippy::all, missing_docs, unused_qualifications, reason = "generated code")]
mod server {
    include!(concat!(env!("OUT_DIR"), "/server/runtime.v1.rs"));
}

pub mod encoded;

pub use server::{image_service_server, runtime_service_server};

/// The compiled descriptors of `runtime.proto` (a `google.protobuf.FileDescriptorSet`).
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The wire contract as a table: every field, enum value and RPC with number and type.
pub const WIRE_TABLE: &str = include_str!("../wire.tsv");

/// Whether a field has the value that stands for its absence on the wire.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
