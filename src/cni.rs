//! Pod networks: runs CNI plugins, as libcni does.
//!
//! What is run with which document is decided in [`translate::cni`]; here it is done. Every
//! attachment is recorded in libcni's own cache, so that it can be undone after a restart, after a
//! change of the configuration, and by another runtime; and theirs by this one.
//!
//! Nobody runs the `loopback` plugin: the Engine brings `lo` up in a container without a network.

mod attach;
mod cache;
mod invoke;
pub mod netns;
mod watch;

use std::{
    io,
    net::IpAddr,
    num::NonZero,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use translate::{
    Invalid,
    cni::capabilities::{Capabilities, Cidr},
};

pub use invoke::InvokeError;
pub use watch::NotReady;

use cache::{Cache, Found};
use invoke::Plugins;
use watch::Watch;

/// The pod's interface, fixed by Kubernetes' runtimes.
pub const INTERFACE: &str = "eth0";

/// Where things are.
#[derive(Debug, Clone)]
pub struct CniConfig {
    /// Where configurations are: the lexically first usable one is the pods' network. May not
    /// exist yet.
    pub conf_dir: PathBuf,
    /// Where plugins are looked up, in order.
    pub bin_dirs: Vec<PathBuf>,
    /// libcni's cache directory.
    pub cache_dir: PathBuf,
    /// How often the configuration is looked at without being told of a change, and how often
    /// `STATUS` is asked for.
    pub poll: Duration,
    /// How long `STATUS` may take.
    pub status_limit: Duration,
    /// How long undoing a failed `ADD` may take.
    pub undo_limit: Duration,
}

impl Default for CniConfig {
    fn default() -> Self {
        Self {
            conf_dir: "/etc/cni/net.d".into(),
            bin_dirs: vec!["/opt/cni/bin".into()],
            cache_dir: "/var/lib/cni/cache".into(),
            poll: Duration::from_secs(5),
            status_limit: Duration::from_secs(5),
            undo_limit: Duration::from_secs(60),
        }
    }
}

/// A pod as its network has to know it.
#[derive(Debug, Clone, Default)]
pub struct PodNetwork {
    /// The sandbox's id.
    pub sandbox_id: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
    /// The pod's network namespace; to take a pod from its network it may be empty or gone. A path
    /// in `/proc` must be known to be the pod's still.
    pub netns: PathBuf,
    /// What plugins may want to know. Without ranges of its own a pod gets those of
    /// [`Cni::set_pod_cidrs`].
    pub capabilities: Capabilities,
}

/// A pod's place in its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniResult {
    /// The network's name.
    pub network: String,
    /// At least one: the primary first, then, with dual stack, that of the other family.
    pub addresses: Vec<IpAddr>,
}

/// What went wrong with a pod's network.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// There is no network to add pods to.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// The pod cannot be described to plugins.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The pod's network namespace is not there.
    #[error("network namespace {}: {cause}", path.display())]
    Netns {
        /// The path that was given.
        path: PathBuf,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// A plugin failed.
    #[error("network {network:?}: plugin {plugin:?} {command}: {cause}")]
    Plugin {
        /// The network's name.
        network: String,
        /// The plugin's name.
        plugin: String,
        /// What it was told to do.
        command: translate::cni::plan::Command,
        /// What happened.
        cause: InvokeError,
    },
    /// The plugins succeeded without an address, and a pod without one is no use to the kubelet.
    #[error("network {network:?}: the plugins gave the pod no address")]
    NoAddress {
        /// The network's name.
        network: String,
    },
    /// A file of the cache cannot be read or written.
    #[error("CNI cache {}: {cause}", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What happened.
        cause: io::Error,
    },
    /// The deadline passed while the plugins of other pods were running.
    #[error("the plugins of other pods were still running at the deadline")]
    Busy,
    /// Several of many independent steps failed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Self>),
}

/// The pods' network.
///
/// Calls for one sandbox must not overlap; calls for different ones may. A call must be carried to
/// its end: if its future is dropped, running plugins are killed and nothing is undone.
pub struct Cni {
    plugins: Plugins,
    cache: Cache,
    watch: Watch,
    pod_cidrs: RwLock<Vec<Cidr>>,
    undo_limit: Duration,
    // Apart, so that a network that hangs when pods are added still lets pods go.
    setups: Semaphore,
    at_once: usize,
    teardowns: Semaphore,
}

impl Cni {
    /// Reads the configuration and starts to watch it. Must be called inside a tokio runtime.
    pub fn new(config: CniConfig) -> Arc<Self> {
        let plugins = Plugins::new(config.bin_dirs);
        // After a reboot every pod of the node comes at once; plugins wait for each other's locks
        // (xtables, IPAM) anyway.
        let at_once = 2 * thread::available_parallelism().map_or(1, NonZero::get);
        Arc::new(Self {
            watch: Watch::start(config.conf_dir, plugins.clone(), config.poll, config.status_limit),
            plugins,
            cache: Cache::new(config.cache_dir),
            pod_cidrs: RwLock::default(),
            undo_limit: config.undo_limit,
            setups: Semaphore::new(at_once),
            at_once,
            teardowns: Semaphore::new(at_once),
        })
    }

    /// Whether pods can be added: there is a usable configuration, and its plugins, if they can be
    /// asked, say that they are able. Answers from memory; right after a change of the
    /// configuration it waits for the plugins, two seconds at most.
    ///
    /// # Errors
    ///
    /// Why pods cannot be added.
    pub async fn status(&self) -> Result<(), NotReady> {
        self.watch.status().await
    }

    /// The subnets that the node's pods are to be in, as `UpdateRuntimeConfig` says them: one, or
    /// two with a comma.
    ///
    /// # Errors
    ///
    /// A part that is not a subnet; nothing is changed then.
    pub fn set_pod_cidrs(&self, cidrs: &str) -> Result<(), Invalid> {
        let cidrs = Cidr::parse_list("runtime_config.network_config.pod_cidr", cidrs)?;
        *self.pod_cidrs.write().unwrap_or_else(PoisonError::into_inner) = cidrs;
        Ok(())
    }

    /// The addresses of a sandbox that was added before, be it by another process; `None` if
    /// nothing is recorded of it, and none if what is recorded makes no sense.
    ///
    /// # Errors
    ///
    /// A record that cannot be read.
    pub async fn addresses(&self, sandbox_id: &str) -> Result<Option<Vec<IpAddr>>, CniError> {
        let current = self.watch.network().ok();
        let found = self.recorded(sandbox_id, current.as_deref()).await?;
        let recorded = !found.is_empty();
        let addresses = found.into_iter().find_map(Found::addresses);
        Ok(recorded.then(|| addresses.unwrap_or_default()))
    }

    /// Waits until no pod is being added, and keeps others from it.
    async fn alone(&self, deadline: Instant) -> Result<tokio::sync::SemaphorePermit<'_>, CniError> {
        let all = u32::try_from(self.at_once).unwrap_or(u32::MAX);
        match tokio::time::timeout_at(deadline, self.setups.acquire_many(all)).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphores are never closed.
            Ok(Err(_)) | Err(_) => Err(CniError::Busy),
        }
    }

    async fn permit<'a>(
        &self,
        of: &'a Semaphore,
        deadline: Instant,
    ) -> Result<tokio::sync::SemaphorePermit<'a>, CniError> {
        match tokio::time::timeout_at(deadline, of.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphores are never closed.
            Ok(Err(_)) | Err(_) => Err(CniError::Busy),
        }
    }
}

/// Does something that blocks, on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(panicked) if panicked.is_panic() => std::panic::resume_unwind(panicked.into_panic()),
        Err(_) => Err(io::Error::other("the runtime is shutting down")),
    }
}

#[cfg(test)]
mod tests;
