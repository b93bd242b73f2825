//! Pods in a CNI network, their namespaces pinned as long as the network is up.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;
use translate::{
    ContainerId, Invalid,
    answer::ContainerInspect,
    cni::{
        bandwidth::Bandwidth,
        capabilities::{Capabilities, Dns, PortMapping},
    },
    labels::SandboxRecord,
};

use super::Evidence;
use crate::{
    cni::{
        Cni, CniConfig, CniError, PodNetwork,
        netns::{self, NetnsError, Pins},
    },
    config::Config,
    error::{Error, Result},
};

/// Where `ip netns` and other runtimes keep theirs.
const PINS: &str = "/run/netns";

/// In front of the sandbox's id in a pin's name.
const PREFIX: &str = "dockside-";

/// Pods in a CNI network.
pub struct CniNetwork {
    cni: Arc<Cni>,
    pins: Pins,
    /// Addresses by sandbox: asked for at every status, and never changed. None if they cannot be made out.
    addresses: Mutex<HashMap<String, Vec<IpAddr>>>,
}

impl CniNetwork {
    pub(super) fn new(config: &Config) -> std::result::Result<Self, Invalid> {
        let cni = Cni::new(CniConfig {
            conf_dir: config.cni_conf_dir.clone(),
            bin_dirs: config.cni_bin_dir.clone(),
            cache_dir: config.cni_cache_dir.clone(),
            ..CniConfig::default()
        });
        cni.set_pod_cidrs(&config.pod_cidrs().join(","))
            .map_err(|error| Invalid::new("--pod-cidr", error.why))?;
        Ok(Self {
            cni,
            pins: Pins::new(PINS),
            addresses: Mutex::default(),
        })
    }

    pub(super) async fn connect(
        &self,
        id: &str,
        record: &SandboxRecord,
        pid: i32,
        deadline: Instant,
    ) -> Result<()> {
        let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0);
        let pid =
            pid.ok_or_else(|| Error::Precondition(format!("the pause process of sandbox {id} has ended")))?;
        let netns = self.pinned(id, move |pins, name| pins.pin(pid, &name)).await?;
        let pod = describe(id, record, &netns)?;
        // What a failed attempt could not undo itself is undone while the namespace is pinned still.
        let added = self.cni.add(&pod, deadline).await?;
        self.known().insert(id.to_owned(), added.addresses);
        Ok(())
    }

    /// Without the namespace plugins undo less: addresses that are masqueraded, for one, are asked of it.
    pub(super) async fn adopt(&self, id: &str, pid: i32) -> Result<bool> {
        let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0);
        let (Some(pid), None) = (pid, self.pin(id)) else {
            return Ok(false);
        };
        if self.cni.addresses(id).await?.is_none() {
            return Ok(false);
        }
        self.pinned(id, move |pins, name| pins.pin(pid, &name)).await?;
        Ok(true)
    }

    pub(super) async fn disconnect(
        &self,
        id: &str,
        record: Option<&SandboxRecord>,
        deadline: Instant,
    ) -> Result<()> {
        let path = self.pins.path(&pin(id)).map_err(failed)?;
        let pinned = path.exists();
        if !pinned && matches!(self.cni.addresses(id).await, Ok(None)) {
            // The namespace is pinned before the first plugin runs, and until the last one has undone its
            // work; only a record outlives a reboot. Neither is there: nothing is left to undo.
            self.known().remove(id);
            return Ok(());
        }
        let netns = if pinned { path } else { Default::default() };
        // After an ADD that was cut off nothing is cached: portmap, for one, undoes only what it is told of.
        let described = record.and_then(|record| describe(id, record, &netns).ok());
        let pod = described.unwrap_or_else(|| PodNetwork {
            sandbox_id: id.into(),
            netns,
            ..PodNetwork::default()
        });
        self.cni.del(&pod, deadline).await?;
        self.known().remove(id);
        self.pinned(id, |pins, name| pins.unpin(&name)).await
    }

    pub(super) fn pin(&self, id: &str) -> Option<PathBuf> {
        let path = self.pins.path(&pin(id)).ok()?;
        netns::is_namespace(&path).is_ok().then_some(path)
    }

    pub(super) async fn addresses(&self, inspect: &ContainerInspect) -> Result<Vec<IpAddr>> {
        let id = &inspect.id;
        if let Some(addresses) = self.known().get(id) {
            return Ok(addresses.clone());
        }
        // One that has ended is of no use, whatever is recorded of it.
        if !inspect.state.running {
            return Ok(Vec::new());
        }
        let Some(addresses) = self.cni.addresses(id).await? else {
            // It may be about to be connected.
            return Ok(Vec::new());
        };
        // What connects it knows better.
        Ok(self.known().entry(id.clone()).or_insert(addresses).clone())
    }

    /// The sandboxes that are or were in the network, as `evidence` has it, and in whose namespaces no process lives: pins
    /// and records may be shared with docksides of other Engines, whose pods run. Records of other programs are theirs.
    pub(super) async fn abandoned(&self, evidence: Evidence) -> Result<BTreeSet<String>> {
        let records = self.cni.records().await?;
        let pins = self.pins.clone();
        blocking(move || {
            let ours = format!("{PINS}/{PREFIX}");
            let recorded = records
                .into_iter()
                .map(|record| (record.container_id, record.netns.starts_with(&ours)));
            let names = match evidence {
                Evidence::Records => Vec::new(),
                Evidence::RecordsAndPins => pins.list()?,
            };
            let pinned = names
                .iter()
                .filter_map(|name| Some((name.strip_prefix(PREFIX)?.to_owned(), false)));
            let inhabited = netns::inhabited()?;
            let mut abandoned = BTreeSet::new();
            for (id, ours) in recorded.chain(pinned) {
                if ContainerId::parse(&id).is_none() {
                    continue;
                }
                let left = match netns::namespace_id(&pins.path(&pin(&id))?) {
                    Ok(namespace) => !inhabited.contains(&namespace),
                    // Pins do not outlive a reboot.
                    Err(_) => ours,
                };
                if left {
                    abandoned.insert(id);
                }
            }
            Ok(abandoned)
        })
        .await
    }

    /// Lets the plugins forget all that is not recorded.
    pub(super) async fn collect(&self, deadline: Instant) -> Result<()> {
        match self.cni.gc(deadline).await {
            // Without a network there is nothing to forget.
            Err(CniError::NotReady(_)) => Ok(()),
            other => Ok(other?),
        }
    }

    pub(super) async fn status(&self) -> std::result::Result<(), String> {
        self.cni.status().await.map_err(|error| error.to_string())
    }

    pub(super) fn set_pod_cidr(&self, cidr: &str) -> Result<()> {
        if cidr.is_empty() {
            return Ok(());
        }
        Ok(self.cni.set_pod_cidrs(cidr)?)
    }

    async fn pinned<T: Send + 'static>(
        &self,
        id: &str,
        work: impl FnOnce(&Pins, String) -> std::result::Result<T, NetnsError> + Send + 'static,
    ) -> Result<T> {
        let (pins, name) = (self.pins.clone(), pin(id));
        blocking(move || work(&pins, name)).await
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<IpAddr>>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pin(id: &str) -> String {
    format!("{PREFIX}{id}")
}

fn failed(error: NetnsError) -> Error {
    Error::Internal(error.to_string())
}

/// Runs system calls that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, NetnsError> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(failed),
        Err(error) => Err(Error::Internal(format!("work on network namespaces: {error}"))),
    }
}

/// The pod in the words that plugins know.
fn describe(id: &str, record: &SandboxRecord, netns: &Path) -> std::result::Result<PodNetwork, Invalid> {
    let config = &record.config;
    let metadata = config.metadata.clone().unwrap_or_default();
    let dns = config.dns_config.as_ref().map(|dns| Dns {
        servers: dns.servers.clone(),
        searches: dns.searches.clone(),
        options: dns.options.clone(),
    });
    Ok(PodNetwork {
        sandbox_id: id.into(),
        namespace: metadata.namespace,
        name: metadata.name.clone(),
        uid: metadata.uid,
        netns: netns.into(),
        capabilities: Capabilities {
            port_mappings: PortMapping::from_cri(&config.port_mappings)?,
            bandwidth: Bandwidth::from_annotations(|key| config.annotations.get(key).map(String::as_str))?,
            dns: dns.unwrap_or_default(),
            aliases: vec![metadata.name],
            ..Capabilities::default()
        },
    })
}
