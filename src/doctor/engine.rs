//! The Engine: whether it answers, and how it is set up.

use std::fs;

use serde_json::Value;
use translate::facts::ApiVersion;

use super::{Finding, Node, Severity};
use crate::{
    config::Config,
    engine::Engine,
    host::{oom, privileges::Privileges},
};

/// What the Engine tells of itself.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The API version spoken with it.
    pub api: Option<ApiVersion>,
    /// Its answer to `GET /info`.
    pub info: Value,
    /// Whether it has the pause image.
    pub pause: bool,
    /// Whether its process has `CAP_SYS_RESOURCE`.
    pub may_lower_oom: bool,
}

impl View {
    fn text(&self, key: &str) -> &str {
        self.info[key].as_str().unwrap_or_default()
    }
}

/// Asks the Engine, or says why it does not answer.
pub async fn look(config: &Config) -> Result<View, String> {
    let engine = Engine::new(config.docker_endpoint.clone(), config.request_timeout())
        .map_err(|error| error.to_string())?;
    let (api, info) = engine.info().await.map_err(|error| error.to_string())?;
    let pause = engine.inspect_image(&config.live.pod_infra_container_image).await;
    Ok(View {
        api: Some(api),
        info,
        pause: matches!(pause, Ok(Some(_))),
        may_lower_oom: oom::may_lower(&Privileges::of_engine(&config.docker_endpoint).await),
    })
}

pub(super) fn check(node: &Node<'_>) -> Vec<Finding> {
    let socket = node.config.docker_endpoint.display();
    let view = match &node.engine {
        Ok(view) => view,
        Err(why) => {
            return vec![Finding::new(
                Severity::Error,
                "engine",
                format!("the Docker Engine does not answer at unix://{socket}: {why}"),
                "pods are its containers; until it answers, dockside reports the node as not ready",
                "systemctl enable --now docker, or name its socket by --docker-endpoint",
            )];
        }
    };
    let mut findings = vec![version(view, &socket.to_string())];
    findings.push(live_restore(view));
    findings.push(remap(view));
    findings.push(data(node, view));
    findings.push(store(view));
    findings.push(pause(node, view));
    findings.push(capability(view));
    findings.push(devices(view));
    findings.extend(warnings(view));
    findings
}

fn version(view: &View, socket: &str) -> Finding {
    let version = view.text("ServerVersion");
    match view.api {
        Some(api) if api >= ApiVersion::FLOOR => Finding::ok(
            "engine",
            format!("Docker Engine {version} answers at unix://{socket} (API {api})"),
        ),
        _ => Finding::new(
            Severity::Error,
            "engine",
            format!("Docker Engine {version} is too old"),
            format!("dockside needs API {}, which is Engine 20.10", ApiVersion::FLOOR),
            "upgrade docker.io or docker-ce",
        ),
    }
}

fn live_restore(view: &View) -> Finding {
    if view.info["LiveRestoreEnabled"] == true {
        return Finding::ok("live-restore", "containers run on while the Engine restarts");
    }
    Finding::new(
        Severity::Warning,
        "live-restore",
        "live-restore is off",
        "a restart or an upgrade of the Engine stops every pod of the node",
        "put \"live-restore\": true into /etc/docker/daemon.json, then: systemctl reload docker",
    )
}

fn remap(view: &View) -> Finding {
    let remapped = view.info["SecurityOptions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|option| {
            option
                .as_str()
                .is_some_and(|option| option.contains("name=userns"))
        });
    if !remapped {
        return Finding::ok("userns-remap", "containers are in the node's user namespace");
    }
    Finding::new(
        Severity::Warning,
        "userns-remap",
        "the Engine remaps the users of all containers",
        "files that pods share with the node or with each other belong to other users than Kubernetes expects",
        "remove \"userns-remap\" from /etc/docker/daemon.json, then: systemctl restart docker",
    )
}

/// The logs of containers and the sizes of images are read from the Engine's own directory.
fn data(node: &Node<'_>, view: &View) -> Finding {
    let directory = view.text("DockerRootDir");
    let containers = node.path(directory).join("containers");
    match fs::read_dir(&containers) {
        Ok(_) => Finding::ok("engine-data", format!("{directory} can be read")),
        Err(error) => Finding::new(
            Severity::Error,
            "engine-data",
            format!("{}: {error}", containers.display()),
            "containers' logs are copied from there; without them `kubectl logs` is empty",
            format!(
                "run dockside as root, in the node's own mount namespace, on the node where {directory} is"
            ),
        ),
    }
}

fn store(view: &View) -> Finding {
    let driver = view.text("Driver");
    let snapshotter = view.info["DriverStatus"]
        .to_string()
        .contains("io.containerd.snapshotter");
    let store = if snapshotter {
        "containerd's store"
    } else {
        "the Engine's own store"
    };
    if driver == "vfs" || driver == "devicemapper" {
        return Finding::new(
            Severity::Warning,
            "image-store",
            format!("images are in {store}, by the driver {driver}"),
            "vfs copies an image for every container, and devicemapper is gone from newer Engines",
            "put \"storage-driver\": \"overlay2\" into /etc/docker/daemon.json, then: systemctl restart docker",
        );
    }
    Finding::ok(
        "image-store",
        format!("images are in {store}, by the driver {driver}"),
    )
}

fn pause(node: &Node<'_>, view: &View) -> Finding {
    let image = &node.config.live.pod_infra_container_image;
    if view.pause {
        return Finding::ok("pause-image", format!("{image} is there"));
    }
    Finding::new(
        Severity::Warning,
        "pause-image",
        format!("{image} is not there"),
        "every pod needs it; the first one waits until it is pulled, and none starts where its registry is out of reach",
        format!("docker pull {image}, or name one that is here by --pod-infra-container-image"),
    )
}

fn capability(view: &View) -> Finding {
    if view.may_lower_oom {
        return Finding::ok("oom-score-adj", "the Engine may set every oom_score_adj");
    }
    Finding::new(
        Severity::Warning,
        "oom-score-adj",
        "the Engine's process lacks CAP_SYS_RESOURCE",
        "oom_score_adj of important pods is raised to what it may set, so they are killed sooner when memory runs out",
        "run the Engine in the node's own user namespace, with all capabilities",
    )
}

fn devices(view: &View) -> Finding {
    match view.info["CDISpecDirs"].as_array() {
        Some(directories) if !directories.is_empty() => {
            let names: Vec<_> = directories.iter().filter_map(Value::as_str).collect();
            Finding::ok(
                "cdi",
                format!("CDI devices are looked for in {}", names.join(", ")),
            )
        }
        _ => Finding::new(
            Severity::Note,
            "cdi",
            "the Engine does not serve CDI devices",
            "pods that ask for devices by CDI (DRA, device plugins of GPUs) do not start",
            "with Engine 25 to 27 put \"features\": {\"cdi\": true} into /etc/docker/daemon.json, then: systemctl restart docker; newer ones serve them by default",
        ),
    }
}

/// What the Engine itself complains of: missing cgroup controllers, and packet filters that do not see bridges.
fn warnings(view: &View) -> Vec<Finding> {
    let warnings = view.info["Warnings"].as_array().into_iter().flatten();
    warnings
        .filter_map(Value::as_str)
        // These have checks of their own.
        .filter(|text| !text.contains("bridge-nf-call") && !text.contains("IPv4 forwarding"))
        .map(|text| {
            Finding::new(
                Severity::Note,
                "engine-warning",
                text.trim_start_matches("WARNING: ").to_owned(),
                "the Engine says so of this node's kernel; a pod that asks for it runs without",
                "docker info",
            )
        })
        .collect()
}
