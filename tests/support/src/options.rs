//! How a daemon is to be started.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::{Daemon, Env};

/// The options of one daemon.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) binary: PathBuf,
    pub(crate) engine: PathBuf,
    pub(crate) flags: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) network: Option<Value>,
}

impl Options {
    /// The options of the program at `binary`: the environment's Engine, a CNI bridge.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            engine: Env::get().engine.clone(),
            flags: Vec::new(),
            variables: Vec::new(),
            network: None,
        }
    }

    /// Takes the Engine at `socket`, such as a proxy's.
    #[must_use]
    pub fn engine(mut self, socket: impl AsRef<Path>) -> Self {
        self.engine = socket.as_ref().into();
        self
    }

    /// Adds a flag, such as `--network-plugin=docker`. It may repeat one that every daemon here gets.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Takes this CNI configuration list in the place of the bridge; null for none at all.
    #[must_use]
    pub fn network(mut self, conflist: Value) -> Self {
        self.network = Some(conflist);
        self
    }

    /// Starts the daemon and waits until it serves.
    pub async fn start(self) -> Daemon {
        Daemon::start(self, Identity::new()).await
    }
}

/// What tells a daemon from all others, of other tests and of other processes too.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Also the Kubernetes namespace of its pods.
    pub(crate) name: String,
    /// Two bytes of the subnet.
    subnet: u16,
    pub(crate) bridge: String,
}

impl Identity {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A process makes a few dozen daemons at most; numbers of processes in the environment are small.
        let subnet = (process.wrapping_mul(64).wrapping_add(count) % 0xffff) as u16;
        Self {
            name: format!("t{process}-{count}"),
            subnet,
            bridge: format!("ds{process}-{count}"),
        }
    }

    pub(crate) fn subnet(&self) -> String {
        let [high, low] = self.subnet.to_be_bytes();
        format!("10.{high}.{low}.0/24")
    }

    /// The CNI configuration list of the daemon's bridge; leases are kept in `dir`.
    pub(crate) fn conflist(&self, dir: &Path) -> Value {
        json!({
            "cniVersion": "0.4.0",
            "name": self.name,
            "plugins": [{
                "type": "bridge",
                "bridge": self.bridge,
                "isGateway": true,
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": dir.join("leases"),
                    "ranges": [[{ "subnet": self.subnet() }]],
                },
            }],
        })
    }
}

/// Writes a configuration list where the daemon looks for it.
pub(crate) fn write_conflist(directory: &Path, conflist: &Value) {
    fs::create_dir_all(directory).unwrap();
    if !conflist.is_null() {
        fs::write(directory.join("10-test.conflist"), conflist.to_string()).unwrap();
    }
}
