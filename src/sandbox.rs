//! Pod sandboxes: a pause container that holds the namespaces, and the pod's network.

mod adopt;
mod events;
mod port_forward;
mod remove;
mod run;
mod status;
mod stop;
mod sweep;
mod update_resources;

use std::sync::Arc;

use crate::{
    engine::Engine,
    image::Images,
    locks::Locks,
    logs::Logs,
    network::Network,
    node::Node,
    store::{ContainerView, Store},
    streaming::Streaming,
};

/// What the calls about sandboxes share.
pub struct Sandboxes {
    /// The Engine.
    pub engine: Engine,
    /// What is known of the node.
    pub store: Arc<Store>,
    /// One lock for each sandbox, by id, and for each that is being made, by name.
    pub locks: Arc<Locks>,
    /// Connects pods.
    pub network: Arc<Network>,
    /// Pulls the pause image.
    pub images: Arc<Images>,
    /// The logs of the sandboxes' containers.
    pub logs: Arc<Logs>,
    /// What this host allows.
    pub node: Arc<Node>,
    /// Gives out URLs for streams.
    pub streaming: Arc<Streaming>,
}

impl Sandboxes {
    /// The statuses of a pod's containers, each as ContainerStatus tells it.
    async fn statuses(&self, members: &[Arc<ContainerView>]) -> Vec<cri::ContainerStatus> {
        let mut statuses = Vec::with_capacity(members.len());
        for member in members {
            statuses.push(member.status(&self.engine).await);
        }
        statuses
    }
}
