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
use translate::cni::{
    capabilities::{PortMapping, Protocol},
    plan::ValidAttachment,
};

use super::*;

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

#[tokio::test]
async fn plugins_are_chained_recorded_and_undone() {
    let node = Node::new();
    node.good("first");
    node.plugin_in(
        "bin2",
        "second",
        &format!(
            "[ $CNI_COMMAND != ADD ] || echo '{}'",
            RESULT.replace("10.9", "10.8")
        ),
    );
    node.list(
        "1.0.0",
        r#"{"type":"first","mtu":1.0},{"type":"second","capabilities":{"portMappings":true,"ipRanges":true}}"#,
    );
    let cni = node.start();
    cni.status().await.unwrap();
    cni.set_pod_cidrs("10.8.0.0/24,fd00:9::/64").unwrap();
    let added = cni.add(&node.network(), soon()).await.unwrap();
    assert_eq!(added.network, "pods");
    let addresses: Vec<IpAddr> = vec!["10.8.0.2".parse().unwrap(), "fd00:9::2".parse().unwrap()];
    assert_eq!(added.addresses, addresses);
    assert_eq!(node.runs(), ["first ADD", "second ADD"]);
    assert_eq!(
        node.document(0),
        json(r#"{"cniVersion":"1.0.0","name":"pods","type":"first","mtu":1.0}"#)
    );
    let second = node.document(1);
    assert_eq!(second["prevResult"], json(RESULT));
    assert_eq!(
        second["runtimeConfig"],
        json(
            r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}],
                "ipRanges":[[{"subnet":"10.8.0.0/24"}],[{"subnet":"fd00:9::/64"}]]}"#
        )
    );
    assert_eq!(node.env(0, "CNI_CONTAINERID"), ID);
    assert_eq!(node.env(0, "CNI_IFNAME"), "eth0");
    assert_eq!(node.env(0, "CNI_NETNS"), node.pod.netns().to_str().unwrap());
    assert_eq!(
        node.env(0, "CNI_PATH"),
        format!("{}:{}", node.path("bin").display(), node.path("bin2").display())
    );
    assert_eq!(
        node.env(0, "CNI_ARGS"),
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;\
             K8S_POD_INFRA_CONTAINER_ID={ID};K8S_POD_UID=u-1"
        )
    );
    let env = fs::read_to_string(node.path("log/0.env")).unwrap();
    assert!(env.contains("\nPATH=") && !env.contains("HOME="), "{env}");

    // As libcni writes it, readable by nobody else.
    let record = json(&fs::read_to_string(node.cached()).unwrap());
    assert_eq!(record["kind"], "cniCacheV1");
    assert_eq!(record["result"], json(&RESULT.replace("10.9", "10.8")));
    assert_eq!(record["netns"], node.pod.netns().to_str().unwrap());
    assert_eq!(
        fs::metadata(node.cached()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(node.path("cache/results"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    let files = fs::read_dir(node.path("cache")).unwrap().count();
    assert_eq!(files, 1, "nothing but the results is left in the cache");

    // Another process, with another configuration, that knows less of the pod.
    drop(cni);
    node.good("other");
    node.conf(
        "05-other.conflist",
        &list("1.0.0", r#"{"type":"other"}"#).replace("pods", "others"),
    );
    let cni = node.start();
    assert_eq!(cni.addresses(ID).unwrap(), Some(addresses));
    assert_eq!(cni.addresses("ffff").unwrap(), None);
    let mut pod = node.network();
    cni.check(&pod, soon()).await.unwrap();
    pod.capabilities = Capabilities::default();
    pod.netns = PathBuf::from("/run/netns/is-gone");
    cni.del(&pod, soon()).await.unwrap();
    assert_eq!(
        node.runs()[2..],
        ["first CHECK", "second CHECK", "second DEL", "first DEL"]
    );
    for run in 2..6 {
        assert_eq!(node.document(run)["prevResult"], record["result"]);
    }
    assert_eq!(node.document(4)["runtimeConfig"], second["runtimeConfig"]);
    assert_eq!(node.env(2, "CNI_NETNS"), node.pod.netns().to_str().unwrap());
    assert_eq!(
        node.env(4, "CNI_NETNS"),
        "",
        "a namespace that is gone is not named"
    );
    assert_eq!(node.env(4, "CNI_ARGS"), node.env(0, "CNI_ARGS"));
    assert!(!node.cached().exists());
    assert_eq!(cni.addresses(ID).unwrap(), None);
    assert!(matches!(
        cni.check(&pod, soon()).await,
        Err(CniError::NotAttached(_))
    ));

    // Again: nothing is recorded, so the network of now is asked.
    cni.del(&pod, soon()).await.unwrap();
    assert_eq!(node.runs()[6..], ["other DEL"]);
}

#[tokio::test]
async fn a_failed_add_is_undone() {
    let node = Node::new();
    node.good("first");
    node.plugin(
        "second",
        r#"[ $CNI_COMMAND != DEL ] || exit 1
           echo '{"cniVersion":"1.0.0","code":7,"msg":"no ports","details":"of 8080"}'; exit 1"#,
    );
    node.good("third");
    node.list("1.0.0", r#"{"type":"first"},{"type":"second"},{"type":"third"}"#);
    let cni = node.start();
    let error = cni.add(&node.network(), soon()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"network "pods": plugin "second" ADD: no ports; of 8080 (code 7)"#
    );
    // That one cannot be undone keeps the others from nothing; what has not run is not undone.
    assert_eq!(
        node.runs(),
        ["first ADD", "second ADD", "second DEL", "first DEL"]
    );
    assert_eq!(node.document(3)["prevResult"], json(RESULT));
    assert!(!node.cached().exists());
}

#[tokio::test]
async fn what_plugins_do_wrong_is_told() {
    let node = Node::new();
    node.list("1.0.0", r#"{"type":"bad"}"#);
    node.good("bad");
    let cni = node.start();
    let bin = node.path("bin").display().to_string();
    let bin2 = node.path("bin2").display().to_string();
    for (body, expected) in [
        (
            "echo hello",
            "printed no JSON object: expected value at line 1 column 1; it printed \"hello\"".to_owned(),
        ),
        ("", "printed no result".to_owned()),
        ("exit 3", "failed with exit status: 3".to_owned()),
        (
            "echo out; echo err >&2; exit 3",
            "failed with exit status: 3; it printed \"out\\nerr\"".to_owned(),
        ),
        ("kill -9 $$", "failed with signal: 9 (SIGKILL)".to_owned()),
        (
            "echo '{\"cniVersion\":\"9.0.0\"}'",
            "cniVersion: \"9.0.0\" is not a version of CNI known here".to_owned(),
        ),
        ("printf '\\377'", "printed bytes that are not UTF-8".to_owned()),
        (
            "cat /dev/zero",
            "printed more than 4194304 bytes and was killed".to_owned(),
        ),
    ] {
        node.plugin("bad", &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{body}"));
        let error = cni.add(&node.network(), soon()).await.unwrap_err().to_string();
        let expected = format!("network \"pods\": plugin \"bad\" ADD: {expected}");
        assert!(error.starts_with(&expected), "{body}: {error}");
    }
    node.plugin("bad", r#"echo '{"cniVersion":"1.0.0","ips":[]}'"#);
    assert!(matches!(
        cni.add(&node.network(), soon()).await,
        Err(CniError::NoAddress { .. })
    ));

    fs::set_permissions(node.path("bin/bad"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = cni.add(&node.network(), soon()).await.unwrap_err().to_string();
    assert!(
        error.ends_with(&format!("ADD: {bin}/bad is not executable")),
        "{error}"
    );
    fs::remove_file(node.path("bin/bad")).unwrap();
    let error = cni.add(&node.network(), soon()).await.unwrap_err().to_string();
    assert!(
        error.ends_with(&format!("ADD: not found in {bin}, {bin2}")),
        "{error}"
    );
    fs::write(node.path("bin/bad"), "no program").unwrap();
    fs::set_permissions(node.path("bin/bad"), fs::Permissions::from_mode(0o755)).unwrap();
    let error = cni.add(&node.network(), soon()).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("cannot run {bin}/bad: Exec format error")),
        "{error}"
    );
}

#[tokio::test]
async fn a_plugin_need_not_read_its_document() {
    let node = Node::new();
    let path = node.path("bin/deaf");
    fs::write(&path, format!("#!/bin/sh\nexec <&-\necho '{RESULT}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    // More than a pipe holds.
    node.list(
        "1.0.0",
        &format!(r#"{{"type":"deaf","filler":"{}"}}"#, "x".repeat(300_000)),
    );
    node.start().add(&node.network(), soon()).await.unwrap();
}

fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_its_children() {
    let node = Node::new();
    let pid = node.path("pid");
    node.plugin(
        "hang",
        &format!("[ $CNI_COMMAND = ADD ] || exit 0\nsleep 1000 & echo $! > {0}.new; mv {0}.new {0}; echo busy >&2; wait", pid.display()),
    );
    node.list("1.0.0", r#"{"type":"hang"}"#);
    let cni = node.start();
    let before = Instant::now();
    let error = cni
        .add(&node.network(), before + Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(
        before.elapsed() < Duration::from_secs(4),
        "took {:?}",
        before.elapsed()
    );
    assert_eq!(
        error.to_string(),
        r#"network "pods": plugin "hang" ADD: did not end in time and was killed; it printed "busy""#
    );
    assert_eq!(node.runs(), ["hang ADD", "hang DEL"]);
    let child = fs::read_to_string(&pid).unwrap();
    eventually("the child is dead", async || !is_running(child.trim())).await;

    // The same when the caller goes away.
    fs::remove_file(&pid).unwrap();
    let (runner, network) = (cni.clone(), node.network());
    let task = tokio::spawn(async move { runner.add(&network, soon()).await.is_ok() });
    eventually("the plugin runs", async || pid.exists()).await;
    task.abort();
    let child = fs::read_to_string(&pid).unwrap();
    eventually("the child is dead", async || !is_running(child.trim())).await;
}

#[tokio::test]
async fn a_child_that_stays_behind_does_not_hold_the_plugin_up() {
    let node = Node::new();
    node.plugin(
        "daemon",
        &format!("[ $CNI_COMMAND != ADD ] || echo '{RESULT}'\nsleep 5 &"),
    );
    node.list("1.0.0", r#"{"type":"daemon"}"#);
    let before = Instant::now();
    node.start().add(&node.network(), soon()).await.unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(4),
        "took {:?}",
        before.elapsed()
    );
}

#[tokio::test]
async fn the_configuration_is_followed() {
    let node = Node::new();
    fs::remove_dir(node.path("conf")).unwrap();
    node.good("a");
    let cni = Cni::new(CniConfig {
        conf_dir: node.path("etc/cni/net.d"),
        bin_dirs: vec![node.path("bin")],
        cache_dir: node.path("cache"),
        // So that only the kernel's notices can make this test pass.
        poll: Duration::from_secs(1000),
        ..CniConfig::default()
    });
    let dir = node.path("etc/cni/net.d");
    let message = async || cni.status().await.err().map(|reason| reason.message);
    let shown = dir.display().to_string();
    assert!(
        message()
            .await
            .unwrap()
            .starts_with(&format!("cannot read the CNI configuration directory {shown}: "))
    );
    assert!(matches!(
        cni.add(&node.network(), soon()).await,
        Err(CniError::NotReady(_))
    ));
    // Nothing is known of the pod, and there is no network: nothing can be left of it.
    cni.del(&node.network(), soon()).await.unwrap();

    fs::create_dir_all(&dir).unwrap();
    eventually("empty", async || {
        message().await == Some(format!("no CNI configuration in {shown}"))
    })
    .await;
    fs::write(dir.join("20-b.conflist"), list("1.0.0", r#"{"type":"a"}"#)).unwrap();
    eventually("ready", async || message().await.is_none()).await;
    // The first usable one counts, and what is not usable is passed over.
    fs::write(dir.join("05-x.conflist"), "{").unwrap();
    fs::write(dir.join("06-x.conflist"), list("1.0.0", r#"{"type":"missing"}"#)).unwrap();
    fs::write(
        dir.join("10-a.conf"),
        r#"{"cniVersion":"1.0.0","name":"first","type":"a"}"#,
    )
    .unwrap();
    eventually("the first", async || {
        cni.watch.network().is_ok_and(|network| network.name == "first")
    })
    .await;
    fs::remove_file(dir.join("10-a.conf")).unwrap();
    eventually("the second", async || {
        cni.watch.network().is_ok_and(|network| network.name == "pods")
    })
    .await;
    fs::write(dir.join("20-b.conflist"), "").unwrap();
    eventually("broken", async || {
        message().await.is_some_and(|message| {
            message.starts_with(&format!(
                "no usable CNI configuration in {shown}: 05-x.conflist: is not a JSON object"
            )) && message.contains("; 06-x.conflist: plugin \"missing\": not found in ")
                && message.contains("; 20-b.conflist: is not a JSON object")
        })
    })
    .await;
    // The whole directory is replaced.
    let next = node.path("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("1.conflist"), list("1.0.0", r#"{"type":"a"}"#)).unwrap();
    fs::rename(&dir, node.path("old")).unwrap();
    eventually("gone", async || {
        message().await.is_some_and(|m| m.starts_with("cannot read"))
    })
    .await;
    fs::rename(&next, &dir).unwrap();
    eventually("ready again", async || message().await.is_none()).await;
    fs::remove_dir_all(node.path("etc")).unwrap();
    eventually("gone again", async || {
        message().await.is_some_and(|m| m.starts_with("cannot read"))
    })
    .await;
}

#[tokio::test]
async fn plugins_with_files_of_their_own_belong_to_the_network() {
    let node = Node::new();
    for name in ["a", "b"] {
        node.good(name);
    }
    fs::create_dir(node.path("conf/pods")).unwrap();
    fs::write(node.path("conf/pods/50-b.conf"), r#"{"type":"b"}"#).unwrap();
    node.list("1.1.0", r#"{"type":"a"}"#);
    let cni = node.start();
    cni.add(&node.network(), soon()).await.unwrap();
    fs::remove_dir_all(node.path("conf")).unwrap();
    eventually("not ready", async || cni.status().await.is_err()).await;
    let before = node.count();
    cni.del(&node.network(), soon()).await.unwrap();
    assert_eq!(node.runs()[before..], ["b DEL", "a DEL"]);
}

#[tokio::test]
async fn plugins_say_whether_they_are_ready() {
    let node = Node::new();
    let answer = node.path("answer");
    node.plugin("a", &format!(". {}", answer.display()));
    let told = |text: &str| {
        fs::write(node.path("draft"), text).unwrap();
        fs::rename(node.path("draft"), &answer).unwrap();
    };
    told("");
    node.list("1.1.0", r#"{"type":"a"}"#);
    let cni = node.start();
    cni.status().await.unwrap();
    assert_eq!(node.env(0, "CNI_COMMAND"), "STATUS");
    assert_eq!(node.env(0, "CNI_CONTAINERID"), "");
    told(r#"echo '{"code":50,"msg":"no addresses left"}'; exit 1"#);
    let expected = r#"network "pods": plugin "a" STATUS: no addresses left (code 50)"#;
    eventually("not ready", async || {
        cni.status().await.is_err_and(|reason| reason.message == expected)
    })
    .await;
    told("");
    eventually("ready", async || cni.status().await.is_ok()).await;

    // A plugin that hangs makes neither the answer slow nor the network ready.
    told("sleep 1000");
    eventually("not ready", async || {
        let before = Instant::now();
        let status = cni.status().await;
        assert!(
            before.elapsed() < Duration::from_millis(300),
            "took {:?}",
            before.elapsed()
        );
        status.is_err_and(|reason| {
            reason
                .message
                .ends_with("STATUS: did not end in time and was killed")
        })
    })
    .await;
    // An older configuration cannot be asked.
    node.list("1.0.0", r#"{"type":"a"}"#);
    eventually("ready", async || cni.status().await.is_ok()).await;
}

#[tokio::test]
async fn garbage_is_collected() {
    let node = Node::new();
    node.good("a");
    node.list("1.1.0", r#"{"type":"a"}"#);
    let cni = node.start();
    cni.status().await.unwrap();
    let mut other = node.network();
    other.sandbox_id = "ffff".to_owned();
    cni.add(&node.network(), soon()).await.unwrap();
    cni.add(&other, soon()).await.unwrap();
    // Another network's record stays.
    let foreign = node.path("cache/results/pods-2-ffff-eth0");
    let record = fs::read_to_string(node.path("cache/results/pods-ffff-eth0")).unwrap();
    fs::write(
        &foreign,
        record.replace(r#""networkName":"pods""#, r#""networkName":"pods-2""#),
    )
    .unwrap();
    let valid = [ValidAttachment {
        container_id: ID.to_owned(),
        ifname: INTERFACE.to_owned(),
    }];
    cni.gc(&valid, soon()).await.unwrap();
    let runs: Vec<String> = node.runs().into_iter().filter(|run| run != "a STATUS").collect();
    assert_eq!(runs, ["a ADD", "a ADD", "a DEL", "a GC"]);
    let of = |command: &str| {
        (0..node.count())
            .find(|run| node.env(*run, "CNI_COMMAND") == command)
            .unwrap()
    };
    assert_eq!(node.env(of("DEL"), "CNI_CONTAINERID"), "ffff");
    assert_eq!(node.document(of("DEL"))["runtimeConfig"], Value::Null);
    let collected = node.document(of("GC"));
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(
            collected[key],
            json(&format!(r#"[{{"containerID":"{ID}","ifname":"eth0"}}]"#))
        );
    }
    assert!(node.cached().exists() && foreign.exists());
    assert!(!node.path("cache/results/pods-ffff-eth0").exists());
}

#[tokio::test]
async fn what_others_set_up_is_taken_down() {
    let node = Node::new();
    for name in ["a", "old"] {
        node.good(name);
    }
    node.list("1.0.0", r#"{"type":"a"}"#);
    let results = node.path("cache/results");
    fs::create_dir_all(&results).unwrap();
    // What cri-dockerd leaves: the network of then, and the loopback of every pod. The process of
    // its path is another by now.
    let record = concat!(
        r#"{"kind":"cniCacheV1","containerId":"0123abcd","config":"eyJjbmlWZXJzaW9uIjoiMC4zLjEiLCJuYW1lIjoid2FzIiwicGx1Z2lucyI6W3sidHlwZSI6Im9sZCIsImNhcGFiaWxpdGllcyI6eyJiYW5kd2lkdGgiOnRydWV9fV19","#,
        r#""ifName":"eth0","networkName":"was","netns":"/proc/1/ns/net","cniArgs":[["IgnoreUnknown","1"]],"#,
        r#""capabilityArgs":{"bandwidth":{"ingressRate":5}},"result":{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.7.0.7/24"}]}}"#
    );
    fs::write(results.join("was-0123abcd-eth0"), record).unwrap();
    fs::write(results.join("cni-loopback-0123abcd-lo"), "{}").unwrap();
    let cni = node.start();
    assert_eq!(
        cni.addresses(ID).unwrap(),
        Some(vec!["10.7.0.7".parse().unwrap()])
    );
    let mut pod = node.network();
    pod.netns = PathBuf::new();
    cni.del(&pod, soon()).await.unwrap();
    assert_eq!(node.runs(), ["old DEL"]);
    assert_eq!(node.env(0, "CNI_NETNS"), "");
    assert_eq!(node.env(0, "CNI_ARGS"), "IgnoreUnknown=1");
    let document = node.document(0);
    assert_eq!(
        document["runtimeConfig"],
        json(r#"{"bandwidth":{"ingressRate":5}}"#)
    );
    assert_eq!(document["prevResult"], Value::Null, "0.3.1 knows no result here");
    assert_eq!(fs::read_dir(&results).unwrap().count(), 0);

    // Records of libcni before 0.8 are bare results; a damaged one is as good as none.
    for (content, result) in [
        (
            r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.7.0.8/24"}]}"#,
            json(r#"{"cniVersion":"1.0.0","ips":[{"address":"10.7.0.8/24"}]}"#),
        ),
        ("garbage", Value::Null),
    ] {
        fs::write(node.cached(), content).unwrap();
        let run = node.count();
        cni.del(&node.network(), soon()).await.unwrap();
        assert_eq!(node.runs()[run..], ["a DEL"]);
        assert_eq!(node.document(run)["prevResult"], result);
        assert!(!node.cached().exists());
    }
}

#[tokio::test]
async fn a_failed_del_is_kept_for_another_try() {
    let node = Node::new();
    node.good("a");
    node.list("1.0.0", r#"{"type":"a"}"#);
    let cni = node.start();
    cni.add(&node.network(), soon()).await.unwrap();
    node.plugin(
        "a",
        r#"echo '{"code":11,"msg":"open /x: no such file or directory"}'; exit 1"#,
    );
    let error = cni.del(&node.network(), soon()).await.unwrap_err().to_string();
    assert!(
        error.ends_with("DEL: open /x: no such file or directory (code 11)"),
        "{error}"
    );
    assert!(node.cached().exists());
    // With the namespace gone, that is how some plugins say that nothing is left.
    let mut pod = node.network();
    pod.netns = PathBuf::new();
    cni.del(&pod, soon()).await.unwrap();
    assert!(!node.cached().exists());
    node.plugin("a", r#"echo '{"code":3,"msg":"unknown"}'; exit 1"#);
    cni.del(&node.network(), soon()).await.unwrap();
}

#[tokio::test]
async fn namespaces_outlive_their_processes_in_pins() {
    let dir = TempDir::new().unwrap();
    let pins = netns::Pins::new(dir.path().join("netns"));
    assert_eq!(pins.list().unwrap(), Vec::<String>::new());
    pins.unpin("pod").unwrap();
    let pod = Pod::new();
    let id = netns::namespace_id(&pod.netns()).unwrap();
    let path = pins.pin(pod.0.id(), "pod").unwrap();
    assert_eq!(pins.pin(pod.0.id(), "pod").unwrap(), path);
    assert_eq!(path, pins.path("pod").unwrap());
    let other = Pod::new();
    let error = pins.pin(other.0.id(), "pod").unwrap_err().to_string();
    assert!(error.contains("is namespace"), "{error}");
    // What a crash between the two steps leaves is no pin, and is no hindrance.
    fs::write(dir.path().join("netns/half"), "").unwrap();
    assert_eq!(pins.list().unwrap(), ["pod"]);
    pins.pin(other.0.id(), "half").unwrap();
    assert_eq!(pins.list().unwrap(), ["half", "pod"]);
    let gone = pod.netns();
    drop(pod);
    assert!(netns::namespace_id(&gone).is_err());
    netns::verify(&path, id).unwrap();
    let net = format!("--net={}", path.display());
    let entered = Command::new("nsenter")
        .args([net.as_str(), "true"])
        .status()
        .unwrap();
    assert!(entered.success());
    for name in ["pod", "half", "pod"] {
        pins.unpin(name).unwrap();
    }
    assert!(netns::namespace_id(&path).is_err());
    assert_eq!(fs::read_dir(dir.path().join("netns")).unwrap().count(), 0);

    for name in ["", "..", "a/b"] {
        assert!(pins.pin(other.0.id(), name).is_err());
    }
    let error = pins.pin(std::process::id(), "own").unwrap_err().to_string();
    assert!(
        error.ends_with("is the network namespace of this node"),
        "{error}"
    );
    assert!(pins.pin(u32::MAX, "none").is_err());
}
