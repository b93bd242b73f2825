//! An Engine that remaps users: all its containers are in one user namespace of its own, and those that share
//! something of the node's must leave it.

use std::{fs, process::Command};

use cri::{LinuxSandboxSecurityContext, NamespaceMode, StatusRequest, UserNamespace};
use support::{Daemon, Engine, Env, SLEEP, container_of};
use tonic::Code;

use super::{ALONE, engine};

/// The files that say which ids are a user's and a group's to remap to.
const RANGES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// What `/proc/PID/uid_map` says inside of the remapping, and outside.
const REMAPPED: &str = "0 100000 65536";
const NODES: &str = "0 0 4294967295";

/// The environment's Engine, remapped until this is dropped. It keeps other images then.
struct Remapped;

impl Remapped {
    fn start() -> Self {
        let ranges = Env::get().scratch().join("ranges");
        // Which of the two names counts in the file of groups differs between Engines.
        fs::write(&ranges, "nobody:100000:65536\nnogroup:100000:65536\n").unwrap();
        let ranges = ranges.to_str().unwrap();
        let this = Self;
        for file in RANGES {
            let status = Command::new("mount").args(["--bind", ranges, file]).status();
            assert!(status.unwrap().success(), "mount {file}");
        }
        engine("engine-stop", &[]);
        engine("engine-start", &["--userns-remap=nobody:nogroup"]);
        this
    }
}

impl Drop for Remapped {
    fn drop(&mut self) {
        // Without a panic: the test may be about to fail already.
        for command in ["engine-stop", "engine-start"] {
            let _ = Command::new(Env::get().dir.join(command)).status();
        }
        for file in RANGES {
            let _ = Command::new("umount").arg(file).status();
        }
    }
}

/// Runs a container in a pod whose security is not as usual; says in which user namespaces pod and container are.
async fn namespaces(
    daemon: &Daemon,
    name: &str,
    change: impl FnOnce(&mut LinuxSandboxSecurityContext),
) -> (String, [String; 2]) {
    let image = daemon.pull("busybox:1").await;
    let mut pod = daemon.pod(name);
    let context = pod.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    change(context);
    let options = context.namespace_options.clone();
    if options.as_ref().unwrap().network() == NamespaceMode::Node {
        pod.hostname.clear();
    }
    let sandbox = daemon.run_pod(&pod).await;
    let mut config = container_of(&pod, "main", &image, SLEEP);
    let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    context.namespace_options = options;
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let maps = [&sandbox, &id].map(|id| {
        let pid = &Engine::get().inspect(id)["State"]["Pid"];
        let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
        map.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    (id, maps)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remapped_engine_lets_those_pods_out_that_share_the_nodes_namespaces() {
    let _alone = ALONE.lock().await;
    if Engine::get().containerd_store() {
        // These Engines do not remap with containerd's store.
        return;
    }
    let _remapped = Remapped::start();
    let daemon = support::daemon!().start().await;
    super::recovers(&daemon).await;

    let (own, maps) = namespaces(&daemon, "own", |_| {}).await;
    assert_eq!(maps, [REMAPPED; 2]);
    let has = daemon
        .sh(&own, "id -u; ip -4 -o addr show dev eth0 | wc -l")
        .await;
    assert_eq!(
        has, "0\n1",
        "root within, and a network that was made from without"
    );
    let user = daemon.container_status(&own).await.user.unwrap().linux.unwrap();
    assert_eq!((user.uid, user.gid), (0, 0));

    let node = i32::from(NamespaceMode::Node);
    for kind in ["network", "pid", "ipc", "privileged"] {
        let change = |context: &mut LinuxSandboxSecurityContext| {
            let options = context.namespace_options.as_mut().unwrap();
            // As every kubelet says it.
            options.userns_options = Some(UserNamespace {
                mode: node,
                ..Default::default()
            });
            match kind {
                "network" => options.network = node,
                "pid" => options.pid = node,
                "ipc" => options.ipc = node,
                _ => context.privileged = true,
            }
        };
        let (_, maps) = namespaces(&daemon, kind, change).await;
        assert_eq!(maps, [NODES; 2], "{kind}");
    }

    // One remapping for all is no user namespace of a pod's own.
    let request = StatusRequest { verbose: false };
    let status = daemon.runtime().status(request).await.unwrap().into_inner();
    for handler in status.runtime_handlers {
        assert!(!handler.features.unwrap().user_namespaces, "{}", handler.name);
    }
    let mut pod = daemon.pod("of-its-own");
    let context = pod.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    context.namespace_options.as_mut().unwrap().userns_options = Some(UserNamespace::default());
    let request = cri::RunPodSandboxRequest {
        config: Some(pod),
        ..Default::default()
    };
    let error = daemon.runtime().run_pod_sandbox(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
}
