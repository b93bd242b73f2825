//! What `tests/run.sh` tells the tests.

use std::{env, path::PathBuf, sync::OnceLock};

/// The environment of this run; `tests/env/README.md` says what each value means.
#[derive(Debug)]
pub struct Env {
    /// The Engine's socket.
    pub engine: PathBuf,
    /// `distribution`, `trixie`, `forky`, `forky-containerd` or `socket`.
    pub engine_name: String,
    /// File with the process number of dockerd.
    pub engine_pid: PathBuf,
    /// Root of the packages that the Engine runs from.
    pub engine_bin: PathBuf,
    /// State of this run, with the commands `engine-start`, `engine-stop` and `engine-kill`.
    pub dir: PathBuf,
    /// Control group below which every container must be.
    pub cgroup: String,
    /// The open registry.
    pub registry: String,
    /// The registry that asks for a password.
    pub registry_auth: String,
    /// Its user.
    pub registry_user: String,
    /// The user's password.
    pub registry_password: String,
    /// An address where nothing listens.
    pub registry_down: String,
    /// The pause image.
    pub pause: String,
    /// Folder of the CNI plugins.
    pub cni_bin: PathBuf,
    /// The static busybox that is in the images.
    pub busybox: PathBuf,
    /// A Python with `grpc`.
    pub python: PathBuf,
}

impl Env {
    /// The environment.
    ///
    /// # Panics
    ///
    /// A variable is missing.
    pub fn get() -> &'static Self {
        static ENV: OnceLock<Env> = OnceLock::new();
        ENV.get_or_init(|| Self {
            engine: value("ENGINE").into(),
            engine_name: value("ENGINE_NAME"),
            engine_pid: value("ENGINE_PID").into(),
            engine_bin: value("ENGINE_BIN").into(),
            dir: value("DIR").into(),
            cgroup: value("CGROUP"),
            registry: value("REGISTRY"),
            registry_auth: value("REGISTRY_AUTH"),
            registry_user: value("REGISTRY_USER"),
            registry_password: value("REGISTRY_PASSWORD"),
            registry_down: value("REGISTRY_DOWN"),
            pause: value("PAUSE"),
            cni_bin: value("CNI_BIN").into(),
            busybox: value("BUSYBOX").into(),
            python: value("PYTHON").into(),
        })
    }

    /// The directory for what tests write.
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// The reference of a test image in the open registry.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry)
    }
}

fn value(name: &str) -> String {
    let name = format!("DOCKSIDE_TEST_{name}");
    env::var(&name).unwrap_or_else(|error| panic!("{name}: {error}; run the tests by tests/run.sh"))
}
