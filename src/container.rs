//! Containers in pods.

mod attach;
mod create;
mod exec;
mod exec_sync;
mod pump;
pub(crate) mod remove;
mod reopen_log;
mod start;
mod status;
mod stop;
mod update;
mod watched;

use std::sync::Arc;

use crate::{
    config::live::Current, engine::Engine, host::cgroup::Keeper, image::Images, locks::Locks, logs::Logs,
    node::Node, store::Store, streaming::Streaming,
};

/// What the calls about containers share.
pub struct Containers {
    /// The Engine.
    pub engine: Engine,
    /// What is known of the node.
    pub store: Arc<Store>,
    /// One lock for each sandbox.
    pub locks: Arc<Locks>,
    /// Tells the digests of images.
    pub images: Arc<Images>,
    /// Their logs.
    pub logs: Arc<Logs>,
    /// What this host allows.
    pub node: Arc<Node>,
    /// Keeps what is written into their cgroups.
    pub keeper: Keeper,
    /// How large each of the two files of a log at the Engine may become.
    pub live: Current,
    /// Gives out URLs for streams.
    pub streaming: Arc<Streaming>,
}
