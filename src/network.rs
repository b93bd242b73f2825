//! Connects pods: by CNI plugins, or by a bridge network of the Engine's.

mod cni;
mod docker;

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use tokio::{sync::Mutex, time::Instant};
use translate::{
    Invalid, answer::ContainerInspect, labels::SandboxRecord, namespaces::NetworkPlugin as Plan,
};

use crate::{
    config::{Config, NetworkPlugin},
    engine::Engine,
    error::Result,
};
use cni::CniNetwork;
use docker::DockerNetwork;

/// What connects this node's pods.
pub enum Network {
    /// CNI plugins.
    Cni(CniNetwork),
    /// A bridge of the Engine's.
    Docker(DockerNetwork),
}

/// What tells that a sandbox is in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The records of plugins' results.
    Records,
    /// Pinned namespaces, too. Before its record is written, or after cri-dockerd has stopped it, a sandbox has nothing else; but
    /// it may also be that of a dockside that keeps its records elsewhere.
    RecordsAndPins,
}

impl Network {
    /// The network that the options ask for. Must be called inside a tokio runtime.
    pub fn new(config: &Config) -> std::result::Result<Self, Invalid> {
        Ok(match config.network_plugin {
            NetworkPlugin::Cni => Self::Cni(CniNetwork::new(config)?),
            NetworkPlugin::Docker => Self::Docker(DockerNetwork {
                subnets: config.pod_cidrs(),
                mtu: config.network_plugin_mtu,
                making: Mutex::default(),
            }),
        })
    }

    /// What a pause container is created with.
    pub fn plugin(&self) -> Plan<'_> {
        match self {
            Self::Cni(_) => Plan::Cni,
            Self::Docker(_) => Plan::Named(docker::NAME),
        }
    }

    /// Makes the Engine's network, where that is used. Returns whether it is.
    pub async fn ensure(&self, engine: &Engine) -> Result<bool> {
        match self {
            Self::Cni(_) => Ok(false),
            Self::Docker(network) => network.ensure(engine).await.map(|()| true),
        }
    }

    /// Gives a started sandbox its network. After a failure it is to be disconnected: the pin is kept for that.
    pub async fn connect(
        &self,
        id: &str,
        record: &SandboxRecord,
        inspect: &ContainerInspect,
        deadline: Instant,
    ) -> Result<()> {
        match self {
            Self::Cni(network) => network.connect(id, record, inspect.state.pid, deadline).await,
            // The Engine did, at the start.
            Self::Docker(_) => Ok(()),
        }
    }

    /// Takes over a network that another runtime has set up for a sandbox whose pause process is `pid`, if it has. Returns
    /// whether it was not taken over before.
    pub async fn adopt(&self, id: &str, pid: i32) -> Result<bool> {
        match self {
            Self::Cni(network) => network.adopt(id, pid).await,
            Self::Docker(_) => Ok(false),
        }
    }

    /// Takes a sandbox's network down. One that has none, or no more, is fine; `record` may be lost.
    pub async fn disconnect(
        &self,
        id: &str,
        record: Option<&SandboxRecord>,
        deadline: Instant,
    ) -> Result<()> {
        match self {
            Self::Cni(network) => network.disconnect(id, record, deadline).await,
            // The Engine does, when the pause container stops.
            Self::Docker(_) => Ok(()),
        }
    }

    /// A sandbox's addresses, the primary one first; none if it has no network.
    pub async fn addresses(&self, inspect: &ContainerInspect) -> Result<Vec<IpAddr>> {
        // Whatever connects pods now: this one may be older than that choice.
        let engines = DockerNetwork::addresses(inspect);
        match self {
            Self::Cni(network) if engines.is_empty() => network.addresses(inspect).await,
            _ => Ok(engines),
        }
    }

    /// The file to which a sandbox's network namespace is pinned, if it is.
    pub fn pin(&self, id: &str) -> Option<PathBuf> {
        match self {
            Self::Cni(network) => network.pin(id),
            Self::Docker(_) => None,
        }
    }

    /// The sandboxes, known or not, that are still in the network though nothing of them runs.
    pub async fn abandoned(&self, evidence: Evidence) -> Result<BTreeSet<String>> {
        match self {
            Self::Cni(network) => network.abandoned(evidence).await,
            Self::Docker(_) => Ok(BTreeSet::new()),
        }
    }

    /// Lets the network forget what belongs to no sandbox.
    pub async fn collect(&self, deadline: Instant) -> Result<()> {
        match self {
            Self::Cni(network) => network.collect(deadline).await,
            Self::Docker(_) => Ok(()),
        }
    }

    /// Why pods cannot be connected, if so. `engine` is why the Engine cannot do anything.
    pub async fn status(&self, engine: Option<&String>) -> std::result::Result<(), String> {
        match self {
            Self::Cni(network) => network.status().await,
            Self::Docker(_) => engine.map_or(Ok(()), |why| Err(why.clone())),
        }
    }

    /// Takes the node's pod address ranges: one, or one per family with a comma between.
    pub fn set_pod_cidr(&self, cidr: &str) -> Result<()> {
        match self {
            Self::Cni(network) => network.set_pod_cidr(cidr),
            // The bridge's range is chosen when it is made.
            Self::Docker(_) => Ok(()),
        }
    }

    /// What `crictl info` shows, as JSON.
    pub fn describe(&self) -> String {
        let plugin = match self {
            Self::Cni(_) => "cni",
            Self::Docker(_) => "docker",
        };
        serde_json::json!({ "plugin": plugin }).to_string()
    }
}
