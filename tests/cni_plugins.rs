//! Pod networks with the plugins that distributions ship: bridge, host-local and portmap.
//!
//! The node's side is a network namespace too, so nothing touches the machine's own network. Needs
//! root, iproute2, iptables and the plugins (Debian: containernetworking-plugins).

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use dockside::cni::{Cni, CniConfig, PodNetwork};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;
use tokio::time::Instant;
use translate::cni::capabilities::{Capabilities, PortMapping, Protocol};

/// A network namespace that vanishes with the test.
struct Namespace(String);

impl Namespace {
    fn new(role: &str) -> Self {
        let name = format!("dockside-test-{role}-{}", std::process::id());
        run("ip", &["netns", "add", &name]);
        Self(name)
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    /// Does something inside, on a thread of its own; children and further threads are inside too.
    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    fn output(&self, command: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.0], command].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn plugins() -> Vec<PathBuf> {
    let folder =
        std::env::var_os("DOCKSIDE_TEST_CNI_BIN").expect("DOCKSIDE_TEST_CNI_BIN, as tests/run.sh sets it");
    let folder = PathBuf::from(folder);
    for plugin in ["bridge", "host-local", "portmap"] {
        assert!(
            folder.join(plugin).is_file(),
            "no {plugin} in {}",
            folder.display()
        );
    }
    vec![folder]
}

fn start(dir: &Path, version: &str) -> Arc<Cni> {
    let conf_dir = dir.join("conf");
    fs::create_dir_all(&conf_dir).unwrap();
    let text = format!(
        r#"{{"cniVersion":"{version}","name":"pods","plugins":[
            {{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"hairpinMode":true,
              "capabilities":{{"ipRanges":true}},
              "ipam":{{"type":"host-local","dataDir":"{}","routes":[{{"dst":"0.0.0.0/0"}}]}}}},
            {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}"#,
        dir.join("ipam").display()
    );
    fs::write(conf_dir.join("10-pods.conflist"), text).unwrap();
    let cni = Cni::new(CniConfig {
        conf_dir,
        bin_dirs: plugins(),
        cache_dir: dir.join("cache"),
        ..CniConfig::default()
    });
    cni.set_pod_cidrs("10.88.7.0/24,fd00:88:7::/64").unwrap();
    cni
}

fn pod(namespace: &Namespace) -> PodNetwork {
    PodNetwork {
        sandbox_id: "0123456789abcdef".to_owned(),
        namespace: "default".to_owned(),
        name: "web-0".to_owned(),
        uid: "7f0e5f3e-0000-4000-8000-000000000000".to_owned(),
        netns: namespace.path(),
        capabilities: Capabilities {
            port_mappings: vec![PortMapping {
                host_port: 18080,
                container_port: 80,
                protocol: Protocol::Tcp,
                host_ip: None,
            }],
            ..Capabilities::default()
        },
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Runs an asynchronous test on one thread: every plugin it starts is in this thread's namespace.
fn block_on<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(test)
}

/// Listens, once the connections of the listener before have ended.
fn listen(at: &str) -> TcpListener {
    let give_up = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        match TcpListener::bind(at) {
            Ok(listener) => return listener,
            Err(error) => assert!(std::time::Instant::now() < give_up, "listen at {at}: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the pod answers on its port 80, asked for from the node.
fn ask(node: &Namespace, pod: &Namespace, at: SocketAddr) -> String {
    let listener = pod.within(|| listen("[::]:80"));
    let server = thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
    let mut answer = String::new();
    node.within(|| {
        let mut client = TcpStream::connect_timeout(&at, Duration::from_secs(30)).unwrap();
        client.read_to_string(&mut answer).unwrap();
    });
    server.join().unwrap();
    answer
}

/// The addresses that host-local holds as taken.
fn taken(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.join("ipam/pods"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("10.") || name.starts_with("fd"))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn pods_are_attached_and_detached_by_the_usual_plugins() {
    let (node, pod_side) = (Namespace::new("node"), Namespace::new("pod"));
    node.output(&["ip", "link", "set", "lo", "up"]);
    let pod = pod(&pod_side);
    // Versions with the family in the result, with prevResult in DEL, and the form of now.
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let dir = TempDir::new().unwrap();
        let addresses = node.within(|| {
            block_on(async {
                let cni = start(dir.path(), version);
                cni.status().await.unwrap();
                let added = cni.add(&pod, soon()).await.unwrap();
                assert_eq!(
                    cni.addresses(&pod.sandbox_id).await.unwrap().as_ref(),
                    Some(&added.addresses)
                );
                added.addresses
            })
        });
        assert!(
            matches!(addresses[..], [IpAddr::V4(_), IpAddr::V6(_)]),
            "{addresses:?}"
        );
        let interface = pod_side.output(&["ip", "address", "show", "dev", "eth0"]);
        for address in &addresses {
            assert!(
                interface.contains(&format!(" {address}/")),
                "{address} in {interface}"
            );
        }
        assert_eq!(
            taken(dir.path()),
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        assert_eq!(ask(&node, &pod_side, SocketAddr::new(addresses[0], 80)), "hello");
        assert_eq!(ask(&node, &pod_side, "10.88.7.1:18080".parse().unwrap()), "hello");
        assert_eq!(ask(&node, &pod_side, "127.0.0.1:18080".parse().unwrap()), "hello");
        assert!(node.output(&["iptables-save", "-t", "nat"]).contains("18080"));

        // Another process takes the pod out, and does not know its ports.
        node.within(|| {
            block_on(async {
                let cni = start(dir.path(), version);
                let mut pod = pod.clone();
                pod.capabilities = Capabilities::default();
                cni.del(&pod, soon()).await.unwrap();
                cni.del(&pod, soon()).await.unwrap();
                assert_eq!(cni.addresses(&pod.sandbox_id).await.unwrap(), None);
            });
        });
        assert!(!pod_side.output(&["ip", "-o", "link"]).contains("eth0"));
        assert!(!node.output(&["iptables-save", "-t", "nat"]).contains("18080"));
        assert_eq!(taken(dir.path()), Vec::<String>::new());
    }
}

#[test]
fn addresses_are_given_back_when_the_namespace_is_gone() {
    let (node, pod_side) = (Namespace::new("node2"), Namespace::new("pod2"));
    let dir = TempDir::new().unwrap();
    let pod = pod(&pod_side);
    node.within(|| {
        block_on(async {
            let cni = start(dir.path(), "1.0.0");
            cni.add(&pod, soon()).await.unwrap();
            assert_eq!(taken(dir.path()).len(), 2);
            drop(pod_side);
            cni.del(&pod, soon()).await.unwrap();
            assert_eq!(taken(dir.path()), Vec::<String>::new());
        });
    });
    assert!(!node.output(&["iptables-save", "-t", "nat"]).contains("18080"));
}

#[test]
fn a_plugin_that_refuses_leaves_nothing_of_the_others() {
    let (node, pod_side) = (Namespace::new("node3"), Namespace::new("pod3"));
    let dir = TempDir::new().unwrap();
    let mut pod = pod(&pod_side);
    // portmap is the only one that looks at it.
    pod.capabilities.port_mappings[0].container_port = 0;
    let error = node.within(|| {
        block_on(async {
            let cni = start(dir.path(), "1.0.0");
            cni.add(&pod, soon()).await.unwrap_err().to_string()
        })
    });
    assert!(
        error.starts_with(r#"network "pods": plugin "portmap" ADD: "#),
        "{error}"
    );
    assert_eq!(taken(dir.path()), Vec::<String>::new());
    assert!(!pod_side.output(&["ip", "-o", "link"]).contains("eth0"));
}
