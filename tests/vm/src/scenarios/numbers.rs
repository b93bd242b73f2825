//! Numbers of the README, measured on request only.

use std::{
    fs,
    time::{Duration, Instant},
};

use cri::{ListPodSandboxRequest, NamespaceMode, PodSandboxConfig, VersionRequest};
use support::container_of;

use crate::node::{SERVICE, cri, engine, image, pod_config, property, read, recovers, remove_sandbox, run};

const PODS: usize = 50;

/// At these minutes of polling the memory is told, and at the end.
const TOLD: [u64; 4] = [1, 10, 30, 60];

/// A pod of two containers in the host's network: the same as in the benchmark of polling, and networks matter to
/// neither start nor memory.
async fn quiet_pod(number: usize) -> String {
    let cri = cri();
    let image = image().await;
    let mut config = pod_config(&format!("pod-{number}"));
    on_the_host(&mut config);
    fs::create_dir_all(&config.log_directory).unwrap();
    let sandbox = cri.run_pod(&config).await;
    for name in ["main", "side"] {
        let mut container = container_of(&config, name, &image, &["sleep", "100000"]);
        let options = container
            .linux
            .as_mut()
            .unwrap()
            .security_context
            .as_mut()
            .unwrap();
        options.namespace_options.as_mut().unwrap().network = NamespaceMode::Node.into();
        cri.run_container(&sandbox, &config, &container).await;
    }
    sandbox
}

fn on_the_host(config: &mut PodSandboxConfig) {
    config.hostname.clear();
    let options = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    options.namespace_options.as_mut().unwrap().network = NamespaceMode::Node.into();
}

/// What the kernel and systemd say of the service's memory.
fn memory() -> String {
    let status = read(format!("/proc/{}/status", property(SERVICE, "MainPID")));
    let of_process = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let cgroup = read(format!(
        "/sys/fs/cgroup{}/memory.stat",
        property(SERVICE, "ControlGroup")
    ));
    let of_unit = |name: &str| {
        let line = cgroup.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    format!(
        "MemoryCurrent {} bytes (anon {}, file {}, kernel {}), process: VmRSS {}, RssAnon {}, VmHWM {}",
        property(SERVICE, "MemoryCurrent"),
        of_unit("anon "),
        of_unit("file "),
        of_unit("kernel "),
        of_process("VmRSS:"),
        of_process("RssAnon:"),
        of_process("VmHWM:"),
    )
}

/// From `systemctl start` to the first answers with 50 pods, beside the time of the Engine's own list; and the memory
/// while a kubelet's polling is imitated for `DOCKSIDE_VM_POLLING` minutes.
#[expect(clippy::print_stdout, reason = "the result of the measurement")]
pub(crate) async fn fifty_pods() {
    const LEVEL: &str = "/etc/dockside/config.d/zz-level.toml";
    fs::write(LEVEL, "log-level = \"info\"\n").unwrap();
    run(&["systemctl", "restart", SERVICE]);
    recovers().await;
    let mut pods = Vec::new();
    while pods.len() < PODS {
        let (one, other) = tokio::join!(quiet_pod(pods.len()), quiet_pod(pods.len() + 1));
        pods.extend([one, other]);
    }
    for _ in 0..9 {
        let began = Instant::now();
        engine().ask("GET", "/containers/json?all=1", None);
        let list = began.elapsed();
        let began = Instant::now();
        cri().runtime().version(VersionRequest::default()).await.unwrap();
        let warm = began.elapsed();
        run(&["systemctl", "stop", SERVICE]);
        let began = Instant::now();
        run(&["systemctl", "start", SERVICE]);
        let started = began.elapsed();
        cri().runtime().version(VersionRequest::default()).await.unwrap();
        let version = began.elapsed();
        let answer = cri()
            .runtime()
            .list_pod_sandbox(ListPodSandboxRequest::default())
            .await;
        println!(
            "number: {} pods: unit started {started:.2?}, Version {version:.2?}, ListPodSandbox {:.2?}; \
             the Engine's own list {list:.2?}, Version of a running one {warm:.2?}",
            answer.unwrap().into_inner().items.len(),
            began.elapsed()
        );
    }
    recovers().await;
    println!("number: before polling: {}", memory());
    let minutes = std::env::var("DOCKSIDE_VM_POLLING")
        .unwrap()
        .parse::<u64>()
        .unwrap();
    let (mut runtime, mut images, began) = (cri().runtime(), cri().images(), Instant::now());
    for minute in 1..=minutes {
        support::poll(&mut runtime, &mut images, Duration::from_secs(60)).await;
        if TOLD.contains(&minute) || minute == minutes {
            println!(
                "number: after {minute} minutes of polling, which took {:.0?}: {}",
                began.elapsed(),
                memory()
            );
        }
    }
    for pod in pods {
        remove_sandbox(&pod).await;
    }
    fs::remove_file(LEVEL).unwrap();
    run(&["systemctl", "restart", SERVICE]);
    recovers().await;
}
