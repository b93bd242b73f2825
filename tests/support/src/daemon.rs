//! A daemon of a test's own.

use std::{
    fs::{self, File},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Cri, Engine, Env, Options, eventually,
    options::{Identity, write_conflist},
};

/// How long a daemon may take to serve, or to end.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running `dockside` with a socket, directories and a CNI network of its own. When it is dropped,
/// all of it is removed, and what it has written is shown if the test has failed.
pub struct Daemon {
    options: Options,
    identity: Identity,
    dir: PathBuf,
    sockets: PathBuf,
    cri: Cri,
    child: Option<Child>,
}

impl Daemon {
    pub(crate) async fn start(options: Options, identity: Identity) -> Self {
        let dir = Env::get().scratch().join(&identity.name);
        // Socket paths must be short.
        let sockets = Path::new("/run/dockside-test").join(&identity.name);
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir_all(&sockets).unwrap();
        let conflist = options.network.clone().unwrap_or_else(|| identity.conflist(&dir));
        write_conflist(&dir.join("cni"), &conflist);
        let mut daemon = Self {
            options,
            identity,
            dir,
            cri: Cri::at(sockets.join("cri.sock")),
            sockets,
            child: None,
        };
        daemon.start_again().await;
        daemon
    }

    /// Starts the program again after it has ended, with the same options, and waits until it serves.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "the daemon runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let mut command = Command::new(&self.options.binary);
        command
            .arg(format!(
                "--container-runtime-endpoint=unix://{}",
                self.socket().display()
            ))
            .arg(format!(
                "--docker-endpoint=unix://{}",
                self.options.engine.display()
            ))
            .arg(format!("--root-directory={}", self.dir.join("root").display()))
            .arg(format!("--cni-conf-dir={}", self.dir.join("cni").display()))
            .arg(format!("--cni-cache-dir={}", self.dir.join("cache").display()))
            .arg(format!("--cni-bin-dir={}", Env::get().cni_bin.display()))
            .arg(format!("--pod-infra-container-image={}", Env::get().pause))
            .arg("--log-level=debug")
            .args(&self.options.flags)
            .envs(self.options.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", self.options.binary.display()));
        self.child = Some(child);
        let end = Instant::now() + PATIENCE;
        while tokio::net::UnixStream::connect(self.socket()).await.is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "the daemon has ended: {ended:?}");
            assert!(
                Instant::now() < end,
                "the daemon does not serve within {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the program by SIGTERM and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.end("TERM")
    }

    /// Kills the program.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// Ends the program by SIGTERM and starts it again.
    pub async fn restart(&mut self) {
        let status = self.stop();
        assert!(status.success(), "the daemon ends with {status}");
        self.start_again().await;
    }

    fn end(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        self.wait()
    }

    /// Waits until the program ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        eventually("the daemon ends", PATIENCE, || child.try_wait().unwrap())
    }

    /// Sends the program a signal, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        run("kill", &[&format!("-{signal}"), &self.pid().to_string()]);
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// The daemon's name, unique among all daemons of the run, and the Kubernetes namespace of its pods.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// A directory of the test's own, on the Engine's file system. The daemon has `root`, `cni` (the
    /// configuration), `cache`, `leases`, `pods` (the logs) and `log` in it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The pod network's address range.
    pub fn subnet(&self) -> String {
        self.identity.subnet()
    }

    /// The pod network's bridge.
    pub fn bridge(&self) -> &str {
        &self.identity.bridge
    }

    /// What the program has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The ids of sandboxes that have a CNI result: their pins may be there still.
    fn connected(&self) -> Vec<String> {
        let Ok(results) = fs::read_dir(self.dir.join("cache/results")) else {
            return Vec::new();
        };
        let id = |name: String| {
            Some(
                name.strip_prefix(&format!("{}-", self.name()))?
                    .strip_suffix("-eth0")?
                    .to_owned(),
            )
        };
        results
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(id)
            .collect()
    }

    fn clear(&self) {
        let mut ids = self.connected();
        let engine = Engine::get();
        for container in engine.named(&format!("_{}_", self.name())) {
            let id = container["Id"].as_str().unwrap_or_default().to_owned();
            engine.remove(&id);
            ids.push(id);
        }
        for id in ids {
            let pin = format!("/run/netns/dockside-{id}");
            let _ = Command::new("umount").args(["-l", &pin]).output();
            let _ = fs::remove_file(pin);
        }
        // Not from /sys, which may be that of another network namespace.
        let interfaces = fs::read_to_string("/proc/net/dev").unwrap_or_default();
        if interfaces.contains(&format!("{}:", self.bridge())) {
            run("ip", &["link", "delete", self.bridge()]);
        }
        let _ = fs::remove_dir_all(&self.sockets);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Deref for Daemon {
    type Target = Cri;

    fn deref(&self) -> &Cri {
        &self.cri
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!(
                "---- what daemon {} has written ----\n{}----",
                self.name(),
                self.log()
            );
            // A second panic would hide the first.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.clear()));
        } else {
            self.clear();
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}
