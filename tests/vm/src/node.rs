//! The node under test: its services, and pods as the kubelet makes them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use cri::{
    ContainerConfig, ContainerState, ListContainersRequest, ListPodSandboxRequest, PodSandboxConfig,
    RemovePodSandboxRequest, StopPodSandboxRequest,
};
use serde_json::Value;
use support::{Cri, Engine, Env, container_of, pod};

/// How long anything may take that comes about by itself: emulation is slow, and the host may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// The socket of the installed service, where every kubelet looks for it.
pub(crate) const SOCKET: &str = "/run/cri-dockerd.sock";

/// The service.
pub(crate) const SERVICE: &str = "dockside.service";

/// Its socket unit.
pub(crate) const SOCKET_UNIT: &str = "dockside.socket";

/// What the tests keep on the machine's disk.
pub(crate) const STATE: &str = "/var/lib/vm-tests";

/// Where the kubelet has the logs of pods.
const LOGS: &str = "/var/log/pods";

/// Counts in its log, and ends at SIGTERM.
pub(crate) const COUNT: &[&str] = &[
    "sh",
    "-c",
    "trap 'exit 0' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.25; done",
];

/// A pod that was started, with its one container.
pub(crate) struct Pod {
    pub(crate) config: PodSandboxConfig,
    pub(crate) sandbox: String,
    pub(crate) container: String,
    /// The container's log.
    pub(crate) log: PathBuf,
}

/// The installed dockside.
pub(crate) fn cri() -> Cri {
    Cri::at(SOCKET)
}

/// The slices that a kubelet with the systemd driver keeps a burstable pod in.
pub(crate) fn slices(uid: &str) -> String {
    let uid = uid.replace('-', "_");
    format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice")
}

/// A burstable pod's configuration.
pub(crate) fn pod_config(name: &str) -> PodSandboxConfig {
    pod("default", name, Path::new(LOGS), slices)
}

/// The id of the image of all containers here, pulled if it is missing, as the kubelet does.
pub(crate) async fn image() -> String {
    let spec = cri::ImageSpec {
        image: Env::get().image("busybox:1"),
        ..Default::default()
    };
    let request = cri::ImageStatusRequest {
        image: Some(spec),
        ..Default::default()
    };
    let found = cri().images().image_status(request).await.unwrap();
    match found.into_inner().image {
        Some(image) => image.id,
        None => cri().pull("busybox:1").await,
    }
}

/// Runs a pod with a container that counts, and whatever `change` adds.
pub(crate) async fn run_pod(name: &str, change: impl FnOnce(&mut ContainerConfig)) -> Pod {
    run_container(name, |_| {}, change).await
}

/// The same with something to change in the pod as well.
pub(crate) async fn run_container(
    name: &str,
    change_pod: impl FnOnce(&mut PodSandboxConfig),
    change: impl FnOnce(&mut ContainerConfig),
) -> Pod {
    let cri = cri();
    let image = image().await;
    let mut config = pod_config(name);
    change_pod(&mut config);
    let mut container = container_of(&config, "main", &image, COUNT);
    change(&mut container);
    // The kubelet makes it; cri-dockerd counts on that.
    let log = Path::new(&config.log_directory).join(&container.log_path);
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let sandbox = cri.run_pod(&config).await;
    let id = cri.run_container(&sandbox, &config, &container).await;
    Pod {
        log,
        config,
        sandbox,
        container: id,
    }
}

impl Pod {
    /// Stops and removes it, as the kubelet does.
    pub(crate) async fn remove(self) {
        remove_sandbox(&self.sandbox).await;
    }

    /// The container's state.
    pub(crate) async fn state(&self) -> ContainerState {
        cri().container_status(&self.container).await.state()
    }

    /// Its containers' first processes, of the sandbox and of the container.
    pub(crate) fn processes(&self) -> [i64; 2] {
        [&self.sandbox, &self.container].map(|id| pid(id))
    }
}

/// Stops a sandbox and removes it.
pub(crate) async fn remove_sandbox(id: &str) {
    let (stop, remove) = (
        StopPodSandboxRequest {
            pod_sandbox_id: id.into(),
        },
        RemovePodSandboxRequest {
            pod_sandbox_id: id.into(),
        },
    );
    cri().runtime().stop_pod_sandbox(stop).await.unwrap();
    cri().runtime().remove_pod_sandbox(remove).await.unwrap();
}

/// All sandboxes and containers, in an order that says nothing.
pub(crate) async fn lists() -> (Vec<cri::PodSandbox>, Vec<cri::Container>) {
    let mut runtime = cri().runtime();
    let sandboxes = runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await;
    let containers = runtime.list_containers(ListContainersRequest::default()).await;
    let mut lists = (
        sandboxes.unwrap().into_inner().items,
        containers.unwrap().into_inner().containers,
    );
    lists.0.sort_by(|a, b| a.id.cmp(&b.id));
    lists.1.sort_by(|a, b| a.id.cmp(&b.id));
    lists
}

/// Whether `Status` says that pods can be run; the reason if not.
pub(crate) async fn ready() -> Result<(), String> {
    let answer = cri().runtime().status(cri::StatusRequest::default()).await;
    let answer = answer.map_err(|status| status.to_string())?.into_inner();
    let conditions = answer.status.unwrap_or_default().conditions;
    match conditions.iter().find(|condition| !condition.status) {
        None => Ok(()),
        Some(condition) => Err(format!("{}: {}", condition.r#type, condition.message)),
    }
}

/// Waits until pods can be run.
pub(crate) async fn recovers() {
    let end = tokio::time::Instant::now() + PATIENCE;
    while let Err(why) = ready().await {
        assert!(
            tokio::time::Instant::now() < end,
            "not ready within {PATIENCE:?}: {why}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The Engine, asked directly.
pub(crate) fn engine() -> Engine {
    Engine::get()
}

/// The first process of a container.
pub(crate) fn pid(id: &str) -> i64 {
    engine().inspect(id)["State"]["Pid"].as_i64().unwrap_or_default()
}

/// Runs a command that must succeed; what it writes, without the space around it.
pub(crate) fn run(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A property of a unit.
pub(crate) fn property(unit: &str, name: &str) -> String {
    run(&[
        "systemctl",
        "show",
        "--value",
        &format!("--property={name}"),
        unit,
    ])
}

/// What the kernel or a program keeps in a file, without the space around it.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .trim()
        .to_owned()
}

/// What CNI has left on the node: addresses that are taken, cached results, veths on the bridge, forwarded ports.
pub(crate) fn network() -> Vec<String> {
    let names = |place: &str| {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        let names = entries.map(|entry| format!("{place}/{}", entry.file_name().to_string_lossy()));
        names
            .filter(|name| !name.contains("/lock") && !name.contains("/last_reserved_ip"))
            .collect::<Vec<_>>()
    };
    let mut left = [
        names("/var/lib/cni/networks/node"),
        names("/var/lib/cni/cache/results"),
        names("/var/lib/cni/results"),
    ]
    .concat();
    for command in [
        "ip -o link show master cni0 2>/dev/null || true",
        "iptables -t nat -S | grep CNI-DN || true",
    ] {
        left.extend(run(&["sh", "-c", command]).lines().map(str::to_owned));
    }
    left
}

/// A JSON value of the Engine's as text, for comparisons.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
