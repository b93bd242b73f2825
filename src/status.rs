//! The node's version, readiness and configuration.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use translate::node;

use crate::{config::effective::Effective, engine::Engine, error::Result, network::Network};

/// How long the Engine has to show a sign of life. The kubelet asks every five seconds, and a node is to
/// be known as down within one.
const PATIENCE: Duration = Duration::from_millis(800);

/// The options in effect, which a reload changes.
pub type Configuration = Arc<Mutex<Effective>>;

/// Answers for the node.
pub struct NodeStatus {
    /// The Engine.
    pub engine: Engine,
    /// Connects pods.
    pub network: Arc<Network>,
    /// The options in effect, for `crictl info`.
    pub configuration: Configuration,
}

impl NodeStatus {
    /// The Engine's version; of an Engine that is away or hangs, the last one known.
    pub async fn version(&self) -> Result<cri::VersionResponse> {
        let facts = match self.engine.last_facts() {
            Some(last) => match timeout(PATIENCE, self.engine.facts()).await {
                Ok(Ok(facts)) => facts,
                _ => last,
            },
            None => self.engine.facts().await?,
        };
        Ok(node::version(&facts))
    }

    /// Whether pods can run. Never fails: what is wrong is the answer.
    pub async fn status(&self, verbose: bool) -> cri::StatusResponse {
        let alive = self
            .engine
            .ping(PATIENCE)
            .await
            .map_err(|error| error.to_string());
        let facts = match timeout(PATIENCE, self.engine.facts()).await {
            Ok(Ok(facts)) if alive.is_ok() => Some(facts),
            _ => None,
        };
        let network = self.network.status(alive.as_ref().err()).await;
        let mut status = node::status(alive, network, facts.as_deref());
        if verbose {
            status.info = facts.as_deref().map(node::info).unwrap_or_default();
            let configuration = self.configuration.lock().unwrap_or_else(PoisonError::into_inner);
            status.info.insert("config".into(), configuration.to_json());
            drop(configuration);
            status.info.insert("network".into(), self.network.describe());
        }
        status
    }

    /// The Engine's cgroup driver.
    pub async fn runtime_config(&self) -> Result<cri::RuntimeConfigResponse> {
        Ok(node::runtime_config(&*self.engine.facts().await?))
    }

    /// Takes the node's pod address range, which CNI plugins may ask for.
    pub fn update(&self, request: &cri::UpdateRuntimeConfigRequest) -> Result<()> {
        let cidr = request
            .runtime_config
            .as_ref()
            .and_then(|config| config.network_config.as_ref())
            .map_or("", |network| network.pod_cidr.as_str());
        self.network.set_pod_cidr(cidr)
    }
}
