#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;
use translate::cni::capabilities::{PortMapping, Protocol};

use super::*;

mod attach;
mod faults;
mod pins;
mod watch;

/// A process in a network namespace of its own: what a pod is to plugins.
struct Pod(Child);

impl Pod {
    fn new() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "1000"])
            .spawn()
            .unwrap();
        let own = netns::namespace_id(Path::new("/proc/self/ns/net")).unwrap();
        let path = format!("/proc/{}/ns/net", child.id());
        while netns::namespace_id(Path::new(&path)).unwrap() == own {
            thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }

    fn netns(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node: directories, plugins that are shell scripts, and what they have been told.
struct Node {
    dir: TempDir,
    pod: Pod,
}

const ID: &str = "0123abcd";
const RESULT: &str = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.9.0.2/24","interface":0},{"address":"fd00:9::2/64","interface":0}],"later":1.0}"#;

impl Node {
    fn new() -> Self {
        let node = Self {
            dir: TempDir::new().unwrap(),
            pod: Pod::new(),
        };
        for dir in ["conf", "bin", "bin2", "log"] {
            fs::create_dir(node.path(dir)).unwrap();
        }
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A plugin that records each run in the order of the runs and then does `body`.
    fn plugin_in(&self, bin: &str, name: &str, body: &str) {
        let log = self.path("log");
        let script = format!(
            r#"#!/bin/sh
log={log}
doc=$(cat)
(flock 9; n=$(ls $log | grep -c in); printf '%s' "$doc" > $log/$n.in
 {{ echo "plugin={name}"; env | grep -E '^(CNI_|PATH=|HOME=)'; }} > $log/$n.env) 9> $log/lock
{body}
"#,
            log = log.display()
        );
        let path = self.path(bin).join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn plugin(&self, name: &str, body: &str) {
        self.plugin_in("bin", name, body);
    }

    fn good(&self, name: &str) {
        self.plugin(name, &format!("[ $CNI_COMMAND != ADD ] || echo '{RESULT}'"));
    }

    fn conf(&self, file: &str, text: &str) {
        fs::write(self.path("conf").join(file), text).unwrap();
    }

    fn list(&self, version: &str, plugins: &str) {
        self.conf("10-pods.conflist", &list(version, plugins));
    }

    fn start(&self) -> Arc<Cni> {
        Cni::new(CniConfig {
            conf_dir: self.path("conf"),
            bin_dirs: vec![self.path("bin"), self.path("bin2")],
            cache_dir: self.path("cache"),
            poll: Duration::from_millis(500),
            status_limit: Duration::from_millis(700),
            undo_limit: Duration::from_secs(5),
        })
    }

    fn network(&self) -> PodNetwork {
        PodNetwork {
            sandbox_id: ID.to_owned(),
            namespace: "default".to_owned(),
            name: "web-0".to_owned(),
            uid: "u-1".to_owned(),
            netns: self.pod.netns(),
            capabilities: Capabilities {
                port_mappings: vec![PortMapping {
                    host_port: 8080,
                    container_port: 80,
                    protocol: Protocol::Tcp,
                    host_ip: None,
                }],
                aliases: vec!["web".to_owned()],
                ..Capabilities::default()
            },
        }
    }

    /// The runs so far: `plugin COMMAND`.
    fn runs(&self) -> Vec<String> {
        (0..self.count())
            .map(|run| format!("{} {}", self.env(run, "plugin"), self.env(run, "CNI_COMMAND")))
            .collect()
    }

    fn count(&self) -> usize {
        let names = fs::read_dir(self.path("log"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        names
            .filter(|path| path.extension().is_some_and(|extension| extension == "env"))
            .count()
    }

    fn env(&self, run: usize, name: &str) -> String {
        let text = fs::read_to_string(self.path("log").join(format!("{run}.env"))).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name} is not in {text}"))
            .to_owned()
    }

    fn document(&self, run: usize) -> Value {
        let text = fs::read_to_string(self.path("log").join(format!("{run}.in"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn cached(&self) -> PathBuf {
        self.path(&format!("cache/results/pods-{ID}-eth0"))
    }
}

fn list(version: &str, plugins: &str) -> String {
    format!(r#"{{"cniVersion":"{version}","name":"pods","plugins":[{plugins}]}}"#)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        sleep(Duration::from_millis(25)).await;
    }
    panic!("never happened: {what}");
}
