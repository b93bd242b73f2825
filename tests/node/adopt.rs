//! Pods that cri-dockerd has made: its names, labels, log links and libcni's cache, made here by hand.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cri::{
    ContainerState, ListContainersRequest, ListPodSandboxRequest, NamespaceMode, PodSandboxState,
    RemovePodSandboxRequest, StopPodSandboxRequest,
};
use serde_json::{Value, json};
use support::{Daemon, Engine, Env, container_of, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// A pod of cri-dockerd's.
struct Pod {
    sandbox: String,
    container: String,
    ip: String,
    log: PathBuf,
}

fn conflist(daemon: &Daemon) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": daemon.name(),
        "plugins": [{
            "type": "bridge",
            "bridge": daemon.bridge(),
            "isGateway": true,
            "ipMasq": true,
            "ipam": {
                "type": "host-local",
                "dataDir": daemon.dir().join("leases"),
                "ranges": [[{ "subnet": daemon.subnet() }]],
            },
        }],
    })
}

fn create(name: &str, body: &Value) -> String {
    let path = format!("/containers/create?name={name}");
    let answer = Engine::get().ask("POST", &path, Some(body));
    let id = answer["Id"].as_str().unwrap().to_owned();
    Engine::get().ask("POST", &format!("/containers/{id}/start"), None);
    id
}

fn with(labels: &Value, more: Value) -> Value {
    let mut all = labels.as_object().unwrap().clone();
    all.extend(more.as_object().unwrap().clone());
    Value::Object(all)
}

/// A pause container, as cri-dockerd asks for it.
fn sandbox_body(labels: &Value, parent: &str, network_mode: &str) -> Value {
    let of_sandboxes = json!({
        "io.kubernetes.docker.type": "podsandbox",
        "io.kubernetes.container.name": "POD",
    });
    json!({
        "Image": Env::get().pause,
        "Labels": with(labels, of_sandboxes),
        "HostConfig": {
            "NetworkMode": network_mode, "IpcMode": "shareable", "CgroupParent": parent,
            "SecurityOpt": ["no-new-privileges"], "CpuShares": 2,
        },
    })
}

fn cgroup_parent(daemon: &Daemon) -> String {
    let root = Env::get().cgroup.trim_start_matches('/');
    format!("/{root}/{}/adopted", daemon.name())
}

impl Pod {
    fn make(daemon: &Daemon, image: &str) -> Self {
        let (namespace, uid) = (daemon.name(), "0123-uid");
        let labels = json!({
            "app": "web",
            "annotation.example.com/a": "1",
            "io.kubernetes.pod.name": "web",
            "io.kubernetes.pod.namespace": namespace,
            "io.kubernetes.pod.uid": uid,
        });
        let parent = cgroup_parent(daemon);
        let sandbox = create(
            &format!("k8s_POD_web_{namespace}_{uid}_1"),
            &with(
                &sandbox_body(&labels, &parent, "none"),
                json!({ "Hostname": "web" }),
            ),
        );
        let log = daemon.dir().join("pods/adopted/app/0.log");
        let container = create(
            &format!("k8s_app_web_{namespace}_{uid}_0"),
            &json!({
                "Image": image,
                "Cmd": ["sh", "-c", "echo first line; exec sleep 1000"],
                "Labels": with(&labels, json!({
                    "io.kubernetes.docker.type": "container",
                    "io.kubernetes.container.name": "app",
                    "io.kubernetes.sandbox.id": sandbox,
                    "io.kubernetes.container.logpath": log,
                })),
                "HostConfig": {
                    "NetworkMode": format!("container:{sandbox}"), "IpcMode": format!("container:{sandbox}"),
                    "CgroupParent": parent, "LogConfig": { "Type": "json-file", "Config": {} },
                },
            }),
        );
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        symlink(
            Engine::get().inspect(&container)["LogPath"].as_str().unwrap(),
            &log,
        )
        .unwrap();
        let ip = connect(daemon, &sandbox, namespace);
        Self {
            sandbox,
            container,
            ip,
            log,
        }
    }
}

/// What libcni does at an ADD: the plugin, and the record of it.
fn connect(daemon: &Daemon, sandbox: &str, namespace: &str) -> String {
    let pid = Engine::get().inspect(sandbox)["State"]["Pid"].as_i64().unwrap();
    let netns = format!("/proc/{pid}/ns/net");
    let list = conflist(daemon);
    let mut plugin = list["plugins"][0].clone();
    plugin["name"] = list["name"].clone();
    plugin["cniVersion"] = list["cniVersion"].clone();
    let binaries = &Env::get().cni_bin;
    let args = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", namespace),
        ("K8S_POD_NAME", "web"),
        ("K8S_POD_INFRA_CONTAINER_ID", sandbox),
    ];
    let joined: Vec<_> = args.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut child = Command::new(binaries.join("bridge"))
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", sandbox)
        .env("CNI_NETNS", &netns)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", binaries)
        .env("CNI_ARGS", joined.join(";"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(plugin.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let record = json!({
        "kind": "cniCacheV1",
        "containerId": sandbox,
        "config": STANDARD.encode(list.to_string()),
        "ifName": "eth0",
        "networkName": daemon.name(),
        "cniArgs": args,
        "result": result,
    });
    let results = daemon.dir().join("cache/results");
    fs::create_dir_all(&results).unwrap();
    fs::write(
        results.join(format!("{}-{sandbox}-eth0", daemon.name())),
        record.to_string(),
    )
    .unwrap();
    let address = result["ips"][0]["address"].as_str().unwrap();
    address.split('/').next().unwrap().to_owned()
}

fn text_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_pod_of_cri_dockerd_is_taken_over() {
    let _alone = super::ALONE.lock().await;
    let mut daemon = support::daemon!().start().await;
    let image = daemon.pull("busybox:1").await;
    daemon.pull("pause:3.10").await;
    daemon.stop();
    fs::write(
        daemon.dir().join("cni/10-test.conflist"),
        conflist(&daemon).to_string(),
    )
    .unwrap();
    let pod = Pod::make(&daemon, &image);
    let rules = || text_of("iptables", &["-w", "-t", "nat", "-S"]);
    assert!(rules().contains(&pod.sandbox), "addresses are masqueraded");
    daemon.start_again().await;

    // Listed, with status, addresses and metadata.
    let sandboxes = daemon
        .runtime()
        .list_pod_sandbox(ListPodSandboxRequest::default())
        .await;
    let sandboxes = sandboxes.unwrap().into_inner().items;
    let listed = sandboxes.iter().find(|one| one.id == pod.sandbox).unwrap();
    assert_eq!(listed.state(), PodSandboxState::SandboxReady);
    let metadata = listed.metadata.clone().unwrap();
    assert_eq!(
        (metadata.name.as_str(), metadata.uid.as_str(), metadata.attempt),
        ("web", "0123-uid", 1)
    );
    assert_eq!(listed.labels["app"], "web");
    assert_eq!(listed.annotations["example.com/a"], "1");
    assert!(!listed.labels.contains_key("io.kubernetes.docker.type"));
    let status = daemon.sandbox_status(&pod.sandbox).await;
    assert_eq!(status.network.unwrap().ip, pod.ip);
    let containers = daemon
        .runtime()
        .list_containers(ListContainersRequest::default())
        .await;
    let containers = containers.unwrap().into_inner().containers;
    let listed = containers.iter().find(|one| one.id == pod.container).unwrap();
    assert_eq!(listed.pod_sandbox_id, pod.sandbox);
    let status = daemon.container_status(&pod.container).await;
    assert_eq!(status.state(), ContainerState::ContainerRunning);
    assert_eq!(status.metadata.unwrap().name, "app");
    assert_eq!(PathBuf::from(status.log_path), pod.log);

    // Its namespace is pinned from the start on, its commands run, its log can be read.
    let pin = PathBuf::from(format!("/run/netns/dockside-{}", pod.sandbox));
    eventually("the namespace is pinned", PATIENCE, || pin.exists().then_some(()));
    let inside = daemon
        .sh(&pod.container, "hostname; ip -o -4 addr show eth0")
        .await;
    assert!(
        inside.starts_with("web") && inside.contains(&format!(" {}/24 ", pod.ip)),
        "{inside}"
    );
    eventually("the log can be read", PATIENCE, || {
        fs::read_to_string(&pod.log)
            .ok()?
            .contains("first line")
            .then_some(())
    });

    // Nothing of its network is left after the stop, and nothing at all after the removal.
    let sandbox_id = || pod.sandbox.clone();
    let stop = StopPodSandboxRequest {
        pod_sandbox_id: sandbox_id(),
    };
    daemon.runtime().stop_pod_sandbox(stop).await.unwrap();
    assert!(!rules().contains(&pod.sandbox), "{}", rules());
    assert!(!pin.exists());
    let lease = daemon.dir().join("leases").join(daemon.name()).join(&pod.ip);
    assert!(!lease.exists());
    assert_eq!(
        fs::read_dir(daemon.dir().join("cache/results")).unwrap().count(),
        0
    );
    let veths = text_of("ip", &["-o", "link", "show", "master", daemon.bridge()]);
    assert_eq!(veths, "");
    let remove = RemovePodSandboxRequest {
        pod_sandbox_id: sandbox_id(),
    };
    daemon.runtime().remove_pod_sandbox(remove).await.unwrap();
    assert!(Engine::get().find(&pod.sandbox).is_none() && Engine::get().find(&pod.container).is_none());
}

/// A network of the Engine's.
struct Bridge(String);

impl Bridge {
    fn new(daemon: &Daemon) -> Self {
        let name = daemon.name().to_owned();
        let body = json!({
            "Name": name,
            "Options": { "com.docker.network.bridge.name": daemon.bridge() },
            "IPAM": { "Config": [{ "Subnet": daemon.subnet() }] },
        });
        Engine::get().ask("POST", "/networks/create", Some(&body));
        Self(name)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let path = format!("/networks/{}", self.0);
        let (status, answer) = Engine::get().call("DELETE", &path, None);
        if !std::thread::panicking() {
            assert!(status < 300, "{status} {answer}");
        }
    }
}

/// etcd, the API server and kube-proxy are in the host's network; a node without plugins has the others on the Engine's bridge.
#[tokio::test(flavor = "multi_thread")]
async fn pods_of_cri_dockerd_that_plugins_have_not_connected_stay_ready() {
    let _alone = super::ALONE.lock().await;
    for store in ["--store=on", "--store=off"] {
        let mut daemon = support::daemon!().flag(store).start().await;
        daemon.pull("pause:3.10").await;
        daemon.stop();
        let namespace = daemon.name();
        let make = |name: &str, network: &str| {
            let labels = json!({
                "io.kubernetes.pod.name": name,
                "io.kubernetes.pod.namespace": namespace,
                "io.kubernetes.pod.uid": "0123-uid",
            });
            let body = sandbox_body(&labels, &cgroup_parent(&daemon), network);
            create(&format!("k8s_POD_{name}_{namespace}_0123-uid_0"), &body)
        };
        // The tests' Engines have no default bridge.
        let bridge = Bridge::new(&daemon);
        let (of_the_host, bridged) = (make("etcd", "host"), make("dns", &bridge.0));
        let networks = &Engine::get().inspect(&bridged)["NetworkSettings"]["Networks"];
        let ip = networks[&bridge.0]["IPAddress"].as_str().unwrap();
        assert!(!ip.is_empty(), "{networks}");
        daemon.start_again().await;
        for (sandbox, mode, address) in [
            (&of_the_host, NamespaceMode::Node, ""),
            (&bridged, NamespaceMode::Pod, ip),
        ] {
            let status = daemon.sandbox_status(sandbox).await;
            assert_eq!(status.state(), PodSandboxState::SandboxReady, "{mode:?} {store}");
            let namespaces = status.linux.unwrap().namespaces.unwrap().options.unwrap();
            assert_eq!(namespaces.network(), mode);
            assert_eq!(status.network.unwrap().ip, address, "{mode:?} {store}");
            let stats = cri::PodSandboxStatsRequest {
                pod_sandbox_id: sandbox.clone(),
            };
            let stats = daemon.runtime().pod_sandbox_stats(stats).await;
            let linux = stats.unwrap().into_inner().stats.unwrap().linux.unwrap();
            assert!(linux.cpu.is_some());
            // The node's traffic is nobody's.
            assert_eq!(linux.network.is_some(), mode == NamespaceMode::Pod, "{store}");
            let stop = StopPodSandboxRequest {
                pod_sandbox_id: sandbox.clone(),
            };
            daemon.runtime().stop_pod_sandbox(stop).await.unwrap();
            let status = daemon.sandbox_status(sandbox).await;
            assert_eq!(status.state(), PodSandboxState::SandboxNotready);
            let remove = RemovePodSandboxRequest {
                pod_sandbox_id: sandbox.clone(),
            };
            daemon.runtime().remove_pod_sandbox(remove).await.unwrap();
            assert!(Engine::get().find(sandbox).is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cri_dockerd_looks_for_is_on_our_pods() {
    let _alone = super::ALONE.lock().await;
    let daemon = support::daemon!().start().await;
    let image = daemon.pull("busybox:1").await;
    let mut pod = daemon.pod("back");
    pod.annotations.insert("example.com/a".into(), "1".into());
    let uid = pod.metadata.clone().unwrap().uid;
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "c", &image, &["sleep", "1000"]);
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let (pause, container) = (Engine::get().inspect(&sandbox), Engine::get().inspect(&id));
    assert_eq!(pause["Name"], format!("/k8s_POD_back_{}_{uid}_0", daemon.name()));
    assert_eq!(
        container["Name"],
        format!("/k8s_c_back_{}_{uid}_0", daemon.name())
    );
    let labels = &pause["Config"]["Labels"];
    assert_eq!(labels["io.kubernetes.docker.type"], "podsandbox");
    assert_eq!(labels["io.kubernetes.container.name"], "POD");
    assert_eq!(labels["annotation.example.com/a"], "1");
    let labels = &container["Config"]["Labels"];
    assert_eq!(labels["io.kubernetes.docker.type"], "container");
    assert_eq!(labels["io.kubernetes.sandbox.id"], sandbox);
    assert_eq!(
        labels["io.kubernetes.container.logpath"],
        format!("{}/c/0.log", pod.log_directory)
    );
    // libcni's record, by which it takes the network down.
    let record = daemon
        .dir()
        .join(format!("cache/results/{}-{sandbox}-eth0", daemon.name()));
    let record: Value = serde_json::from_str(&fs::read_to_string(record).unwrap()).unwrap();
    assert_eq!(record["kind"], "cniCacheV1");
    assert_eq!(record["networkName"], daemon.name());
}
