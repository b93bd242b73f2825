//! Containers by the Engine alone and through dockside.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cri::{PodSandboxConfig, RemoveContainerRequest, StartContainerRequest};
use futures_util::future::join_all;
use serde_json::json;
use support::{Daemon, Engine, Env, container_of};

/// Who makes the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Engine,
    Dockside,
}

/// Containers that were created.
pub(crate) struct Ready {
    way: Way,
    pub(crate) ids: Vec<String>,
}

pub(crate) struct Node {
    pub(crate) daemon: Daemon,
    image: String,
    pod: PodSandboxConfig,
    sandbox: String,
}

impl Node {
    pub(crate) async fn new() -> Self {
        let daemon = support::daemon!().flag("--log-level=info").start().await;
        let image = daemon.pull("busybox:1").await;
        let pod = daemon.pod("writers");
        let sandbox = daemon.run_pod(&pod).await;
        Self {
            daemon,
            image,
            pod,
            sandbox,
        }
    }

    /// Creates `count` containers.
    pub(crate) async fn create(&self, way: Way, name: &str, count: usize, script: &str) -> Ready {
        let mut ids = Vec::new();
        for index in 0..count {
            let name = format!("{name}-{index}");
            ids.push(match way {
                Way::Engine => self.bare(&name, script),
                Way::Dockside => {
                    let config = container_of(&self.pod, &name, &self.image, &["sh", "-c", script]);
                    self.daemon.create(&self.sandbox, &self.pod, &config).await
                }
            });
        }
        Ready { way, ids }
    }

    fn bare(&self, name: &str, script: &str) -> String {
        let body = json!({
            "Image": self.image,
            "Entrypoint": ["sh", "-c", script],
            "HostConfig": {
                "NetworkMode": "none",
                "CgroupParent": format!("{}/{}", Env::get().cgroup, self.daemon.name()),
                "LogConfig": {
                    "Type": "json-file",
                    "Config": { "max-size": "64m", "max-file": "2", "compress": "false" },
                },
            },
        });
        // The name is one that the daemon's end removes.
        let name = format!("bare_{}_{name}", self.daemon.name());
        let answer = Engine::get().ask("POST", &format!("/containers/create?name={name}"), Some(&body));
        answer["Id"].as_str().unwrap().to_owned()
    }

    /// Starts all at once, and returns how long they took to end.
    pub(crate) async fn run(&self, ready: &Ready) -> Duration {
        let began = Instant::now();
        self.start(ready).await;
        let waits = ready.ids.iter().map(|id| {
            let id = id.clone();
            tokio::task::spawn_blocking(move || wait(&id))
        });
        join_all(waits)
            .await
            .into_iter()
            .for_each(|waited| waited.unwrap());
        let wall = began.elapsed();
        if ready.way == Way::Dockside {
            // Until the log is complete: that is work too.
            join_all(ready.ids.iter().map(|id| self.daemon.ended(id))).await;
        }
        wall
    }

    /// Some of dockside's containers.
    pub(crate) fn some(ids: &[String]) -> Ready {
        Ready {
            way: Way::Dockside,
            ids: ids.to_vec(),
        }
    }

    pub(crate) async fn start(&self, ready: &Ready) {
        let starts = ready.ids.iter().map(async |id| match ready.way {
            Way::Engine => {
                let path = format!("/containers/{id}/start");
                tokio::task::spawn_blocking(move || Engine::get().ask("POST", &path, None))
                    .await
                    .unwrap();
            }
            Way::Dockside => {
                let request = StartContainerRequest {
                    container_id: id.clone(),
                };
                self.daemon.runtime().start_container(request).await.unwrap();
            }
        });
        join_all(starts).await;
    }

    pub(crate) async fn remove(&self, ready: &Ready) {
        for id in &ready.ids {
            if ready.way == Way::Dockside {
                let request = RemoveContainerRequest {
                    container_id: id.clone(),
                };
                self.daemon.runtime().remove_container(request).await.unwrap();
            } else {
                Engine::get().remove(id);
            }
        }
        // Logs are the kubelet's to remove, and they are large.
        let _ = std::fs::remove_dir_all(&self.pod.log_directory);
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        Path::new(&self.pod.log_directory).join(name).join("0.log")
    }
}

/// Waits until a container has ended. The Engine is asked only once its process has: a question each 20 ms for each
/// of twenty containers would cost it as much as their lines do.
fn wait(id: &str) {
    let end = Instant::now() + Duration::from_secs(300);
    let goes_on = || {
        assert!(Instant::now() < end, "{id} does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    let process = format!("/proc/{}", Engine::get().inspect(id)["State"]["Pid"]);
    while process != "/proc/0" && Path::new(&process).exists() {
        goes_on();
    }
    while Engine::get().inspect(id)["State"]["Running"] == json!(true) {
        goes_on();
    }
}
