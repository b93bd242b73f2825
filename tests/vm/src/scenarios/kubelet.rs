//! From cri-dockerd to dockside and back while a kubelet runs and keeps its pods, none of which is part of this project:
//! `DOCKSIDE_VM_EXTRA=FOLDER tests/vm/run.sh under_a_kubelet`, where FOLDER has the programs `cri-dockerd` and
//! `kubelet`, and `crictl` if that is to be tried too.

mod service;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use service::{Kubelet, PATIENCE, Told, talk};

use super::{
    extra::brought,
    switch::{cri_dockerd, remove_units, shown, to_cri_dockerd, to_dockside},
};
use crate::{
    cgroups::Cgroup,
    logs::rotated,
    node::{COUNT, SERVICE, cri, engine, network, ready, recovers, run},
};

/// A port of the node's that leads to a pod.
const PORT: u16 = 8081;

/// Serves a page and counts. The command by which it shows that it lives is run every 5 s.
fn probed() -> Value {
    json!({
        "command": ["sh", "-c", format!("httpd -h /var/www; {}", COUNT[2])],
        "resources": {
            "limits": {"memory": "64Mi", "cpu": "1"},
            "requests": {"memory": "32Mi", "cpu": "100m"},
        },
        "livenessProbe": {
            "exec": {"command": ["grep", "-q", "page", "/var/www/index.html"]},
            "periodSeconds": 5, "timeoutSeconds": 60,
        },
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5, "timeoutSeconds": 60},
    })
}

/// Counts so fast that its log is full in seconds.
fn writes() -> Value {
    let line = "x".repeat(200);
    json!({"command": ["sh", "-c", format!(
        "trap 'exit 0' TERM; i=0; while :; do echo {line} $i; i=$((i+1)); [ $((i % 40)) -gt 0 ] || sleep 1; done"
    )]})
}

/// Serves a page at a port of the node's.
fn forwarded() -> Value {
    json!({
        "command": ["httpd", "-f", "-h", "/var/www"],
        "ports": [{"containerPort": 80, "hostPort": PORT}],
    })
}

/// Fails unless the page comes from the node's port.
fn port_leads_to_the_pod() {
    let stream = TcpStream::connect(("10.88.0.1", PORT)).unwrap();
    let (status, page) = talk(stream, "GET / HTTP/1.0\r\n\r\n");
    assert_eq!((status, page.trim()), (200, "dockside test page"));
}

/// Fails unless the container is below the kubelet's slices, with the limits of [`probed`].
fn limits_are_in_the_slices(container: &str) {
    let cgroup = Cgroup::of(container);
    let slices = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod";
    assert!(cgroup.path().starts_with(slices), "{}", cgroup.path());
    for cgroup in [&cgroup, &cgroup.parent()] {
        assert_eq!(
            cgroup.value("memory.max"),
            (64 << 20).to_string(),
            "{}",
            cgroup.path()
        );
        assert_eq!(cgroup.value("cpu.max"), "100000 100000", "{}", cgroup.path());
    }
}

/// Waits until nothing is left of a pod but perhaps its network.
async fn is_gone(name: &str, cgroup: &str) {
    let left = || engine().named(&format!("_{name}-node_"));
    let end = Instant::now() + PATIENCE;
    while !left().is_empty() || Path::new("/sys/fs/cgroup").join(&cgroup[1..]).exists() {
        assert!(Instant::now() < end, "of {name} is left: {cgroup}, {:?}", left());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Has the kubelet give up a pod, and waits until nothing is left of it but perhaps its network.
async fn remove(kubelet: &Kubelet, name: &str) {
    let pods = kubelet.pods();
    let slice = Cgroup::of(&pods[name].container).parent().path();
    kubelet.remove(name);
    is_gone(name, &slice).await;
}

/// Where the kubelet has the log of a pod's container.
async fn log(pod: &Told) -> PathBuf {
    cri().container_status(&pod.container).await.log_path.into()
}

/// What was rotated of a log.
fn pieces(log: &Path) -> Vec<String> {
    let name = log.file_name().unwrap().to_string_lossy().into_owned() + ".";
    let entries = fs::read_dir(log.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|other| other.starts_with(&name)).collect()
}

/// How long nobody answered `Status` at a switch, and how long it took from the first command to the next answer.
async fn away(switch: impl FnOnce()) -> String {
    let began = Instant::now();
    let watch = tokio::spawn(async move {
        let (mut answered, mut gone) = (began, false);
        loop {
            match ready().await {
                Ok(()) if gone => return (answered.elapsed(), began.elapsed()),
                Ok(()) => answered = Instant::now(),
                Err(_) => gone = true,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    // Or the task would wait for this thread.
    tokio::task::block_in_place(switch);
    let (away, whole) = tokio::time::timeout(PATIENCE, watch).await.unwrap().unwrap();
    format!("no answer for {away:.1?}, until {whole:.1?} after the first command")
}

/// Fails unless the pods are, and stay, what they were: the same containers and processes, not restarted, and ready.
async fn nothing_changed(kubelet: &Kubelet, before: &BTreeMap<String, Told>, when: &str) {
    recovers().await;
    kubelet
        .comes_to(&format!("{when}, the kubelet's pods are {before:#?}"), |pods| {
            pods == before
        })
        .await;
    kubelet.probes_go_on("probed").await;
    assert_eq!(&kubelet.pods(), before, "{when}");
    assert_eq!(kubelet.ask("/healthz").as_deref(), Some("ok"), "{when}");
}

/// The kubelet's logs, `/run` and `/exec`, the last by WebSocket, which it passes on.
async fn the_kubelet_serves_logs_and_commands(kubelet: &Kubelet) {
    let (status, logs) = kubelet.call("GET /containerLogs/default/probed-node/main HTTP/1.0\r\n\r\n");
    assert!(status == 200 && logs.starts_with("0\n1\n2\n"), "{status}: {logs}");
    let (status, logs) =
        kubelet.call("GET /containerLogs/default/writes-node/main?tailLines=5 HTTP/1.0\r\n\r\n");
    assert!(status == 200 && logs.lines().count() == 5, "{status}: {logs}");
    let (status, name) = kubelet.call("POST /run/default/probed-node/main?cmd=hostname HTTP/1.0\r\n\r\n");
    assert_eq!((status, name.trim()), (200, "probed-node"));
    let (status, frames) = kubelet.call(
        "GET /exec/default/probed-node/main?command=hostname&output=1&error=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n",
    );
    assert!(
        status == 101 && frames.contains("\u{1}probed-node\n"),
        "{status}: {frames:?}"
    );
    assert!(frames.contains("\"Success\""), "{frames:?}");
}

/// What the kubelet's summary has of each pod.
fn summary(kubelet: &Kubelet) -> BTreeMap<String, Value> {
    let summary = kubelet.ask("/stats/summary").unwrap_or_default();
    let summary: Value = serde_json::from_str(&summary).unwrap_or_default();
    let pods = summary["pods"].as_array().cloned().unwrap_or_default();
    let pods = pods.into_iter().map(|pod| {
        let name = pod["podRef"]["name"].as_str().unwrap_or_default();
        (name.trim_end_matches("-node").to_owned(), pod)
    });
    pods.collect()
}

/// What a summary should have of a pod.
const FIGURES: [&str; 7] = [
    "/containers/0/cpu/usageNanoCores",
    "/containers/0/cpu/usageCoreNanoSeconds",
    "/containers/0/memory/workingSetBytes",
    "/containers/0/rootfs/usedBytes",
    "/cpu/usageCoreNanoSeconds",
    "/memory/workingSetBytes",
    "/network/rxBytes",
];

/// What is missing of that.
fn missing(pods: &BTreeMap<String, Value>) -> Vec<String> {
    let missing = pods.iter().flat_map(|(name, pod)| {
        let missing = FIGURES
            .iter()
            .filter(|path| pod.pointer(path).and_then(Value::as_u64).is_none());
        missing.map(move |path| format!("{name}{path}"))
    });
    missing.collect()
}

/// With what dockside tells, the kubelet's own statistics name pods and containers.
async fn the_kubelet_has_statistics(kubelet: &Kubelet) {
    let end = Instant::now() + PATIENCE;
    loop {
        let pods = summary(kubelet);
        if pods.len() == kubelet.pods().len() && missing(&pods).is_empty() {
            break;
        }
        assert!(Instant::now() < end, "/stats/summary lacks {:?}", missing(&pods));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let probed = &summary(kubelet)["probed"]["containers"][0]["memory"];
    let (used, free) = (&probed["workingSetBytes"], &probed["availableBytes"]);
    assert_eq!(
        used.as_u64().unwrap() + free.as_u64().unwrap(),
        64 << 20,
        "{probed}"
    );
    for path in ["/metrics/resource", "/metrics/cadvisor"] {
        let metrics = kubelet.ask(path).unwrap();
        for name in [
            "container_cpu_usage_seconds_total",
            "container_memory_working_set_bytes",
        ] {
            let line = metrics.lines().find(|line| {
                line.starts_with(name)
                    && line.contains("container=\"main\"")
                    && line.contains("pod=\"probed-node\"")
            });
            assert!(line.is_some(), "no {name} of the container at {path}: {metrics}");
        }
    }
}

/// A kubelet's pods go on under both.
#[expect(clippy::print_stdout, reason = "what is not for a test to judge")]
pub(crate) async fn both_ways_under_a_kubelet() {
    let program = brought("kubelet");
    println!("kubelet: {}", run(&[&program, "--version"]));
    let left = network();
    cri_dockerd();
    to_cri_dockerd();
    recovers().await;

    let mut phase = SystemTime::now();
    let mut complaints = |kubelet: &Kubelet, when: &str| {
        println!("kubelet: complaints {when}:\n{}", kubelet.complaints(phase));
        phase = SystemTime::now();
    };
    let kubelet = Kubelet::start(&program);
    kubelet.add("probed", probed());
    kubelet.add("writes", writes());
    kubelet.add("forwarded", forwarded());
    let before = kubelet.ready(&["forwarded", "probed", "writes"]).await;
    limits_are_in_the_slices(&before["probed"].container);
    port_leads_to_the_pod();
    kubelet.probes_go_on("probed").await;
    let log_of_writes = log(&before["writes"]).await;
    println!(
        "kubelet: under cri-dockerd, the log is {:?}",
        fs::read_link(&log_of_writes)
    );
    complaints(&kubelet, "under cri-dockerd");

    let mut others = Vec::new();
    let away_for = away(|| others = to_dockside()).await;
    println!("kubelet: to dockside: {away_for}");
    nothing_changed(&kubelet, &before, "under dockside").await;
    complaints(&kubelet, "at the switch to dockside");
    if let Some(shown) = shown(&others) {
        for name in before.keys() {
            assert!(shown.contains(&format!("{name}-node")), "{shown}");
        }
    }
    port_leads_to_the_pod();
    the_kubelet_serves_logs_and_commands(&kubelet).await;
    let end = Instant::now() + PATIENCE;
    while !pieces(&log_of_writes).iter().any(|piece| piece.ends_with(".gz")) {
        assert!(
            Instant::now() < end,
            "not rotated twice: {:?}",
            pieces(&log_of_writes)
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let pods = summary(&kubelet);
    println!(
        "kubelet: /stats/summary has {:?}, and lacks {:?}",
        pods.keys(),
        missing(&pods)
    );

    kubelet.add("late", json!({"command": COUNT}));
    let before = kubelet.ready(&["forwarded", "late", "probed", "writes"]).await;
    run(&["systemctl", "restart", SERVICE]);
    nothing_changed(&kubelet, &before, "after a restart of dockside").await;
    complaints(&kubelet, "under dockside");
    kubelet.restart(json!({"PodAndContainerStatsFromCRI": true}));
    nothing_changed(&kubelet, &before, "after a restart of the kubelet").await;
    the_kubelet_has_statistics(&kubelet).await;
    complaints(&kubelet, "with statistics from dockside");
    kubelet.restart(json!({}));
    nothing_changed(&kubelet, &before, "after another restart of the kubelet").await;
    let numbers = kubelet.without(|| rotated(&log_of_writes));
    nothing_changed(&kubelet, &before, "after a stop of the kubelet").await;
    println!(
        "kubelet: of the log that is rotated are left {numbers:?}, in order, in {:?}",
        pieces(&log_of_writes)
    );

    // Of the network, what the other pods have must stay as it is.
    let with = network();
    remove(&kubelet, "forwarded").await;
    let without = network();
    println!(
        "kubelet: the network of a pod: {:?}",
        with.iter()
            .filter(|one| !without.contains(one))
            .collect::<Vec<_>>()
    );
    assert!(
        without
            .iter()
            .all(|one| with.contains(one) && !one.contains("CNI-DN")),
        "{without:?}"
    );
    let killed = &before["probed"].container;
    engine().ask("POST", &format!("/containers/{killed}/kill"), None);
    let before = kubelet
        .comes_to("a killed container is started again", |pods| {
            pods.get("probed")
                .is_some_and(|pod| pod.ready && pod.restarts == 1)
        })
        .await;
    assert_ne!(&before["probed"].container, killed);
    limits_are_in_the_slices(&before["probed"].container);
    kubelet.probes_go_on("probed").await;
    complaints(&kubelet, "with two pods less or more under dockside");

    let away_for = away(to_cri_dockerd).await;
    println!("kubelet: to cri-dockerd: {away_for}");
    nothing_changed(&kubelet, &before, "back under cri-dockerd").await;
    complaints(&kubelet, "at the switch to cri-dockerd");
    for name in ["late", "probed", "writes"] {
        remove(&kubelet, name).await;
    }
    println!("kubelet: left by cri-dockerd: {:?}", network());
    complaints(&kubelet, "under cri-dockerd again");
    kubelet.end();
    to_dockside();
    recovers().await;
    println!(
        "kubelet: left in the end, as at the beginning: {}",
        network() == left
    );
    assert_eq!(engine().named("k8s_").len(), 0);
    remove_units();
}
