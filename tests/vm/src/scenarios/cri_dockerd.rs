//! From cri-dockerd to dockside and back, as `deploy/switch.md` says, with cri-dockerd itself, which is not part of
//! this project: `DOCKSIDE_VM_EXTRA=FOLDER tests/vm/run.sh with_cri_dockerd`, where FOLDER has the program
//! `cri-dockerd`, and `crictl` if that is to be tried too.

use std::{collections::BTreeMap, fs, path::Path};

use cri::{
    ContainerState, ListPodSandboxRequest, PodSandboxFilter, PodSandboxState, PortMapping,
    ReopenContainerLogRequest,
};

use super::switch::{OPTIONS, cri_dockerd, remove_units, shown, to_cri_dockerd, to_dockside};
use crate::{
    logs::{counted, counts_beyond},
    node::{PATIENCE, Pod, SOCKET, cri, engine, lists, network, recovers, run, run_container, run_pod},
};

/// What is told of a pod, whoever serves.
#[derive(Debug, PartialEq)]
struct Told {
    states: (PodSandboxState, ContainerState),
    address: String,
    hostname: String,
    listed: (Vec<String>, Vec<String>),
    processes: [i64; 2],
}

impl Told {
    async fn of(pod: &Pod) -> Self {
        let cri = cri();
        let sandbox = cri.sandbox_status(&pod.sandbox).await;
        let inside = cri
            .sh(&pod.container, "hostname; ip -4 -o addr show dev eth0")
            .await;
        let address = sandbox.network.as_ref().unwrap().ip.clone();
        assert!(inside.contains(&format!(" {address}/")), "{address}: {inside}");
        // With a filter, as the kubelet asks: without one cri-dockerd lists what only its checkpoints know too.
        let request = ListPodSandboxRequest {
            filter: Some(PodSandboxFilter::default()),
        };
        let sandboxes = cri.runtime().list_pod_sandbox(request).await;
        let mut sandboxes = sandboxes.unwrap().into_inner().items;
        sandboxes.sort_by(|a, b| a.id.cmp(&b.id));
        let (_, containers) = lists().await;
        // cri-dockerd takes dockside's record for a label of the pod's.
        let labels = |labels: &BTreeMap<String, String>| {
            let mut labels = labels.clone();
            labels.remove("io.dockside.record");
            format!("{labels:?}")
        };
        let sandboxes = sandboxes.iter().map(|one| {
            let name = one.metadata.clone().unwrap_or_default();
            format!("{} {name:?} {:?} {}", one.id, one.state(), labels(&one.labels))
        });
        let containers = containers.iter().map(|one| {
            let name = one.metadata.clone().unwrap_or_default();
            let (sandbox, state) = (&one.pod_sandbox_id, one.state());
            format!("{} {sandbox} {name:?} {state:?} {}", one.id, labels(&one.labels))
        });
        Self {
            listed: (sandboxes.collect(), containers.collect()),
            states: (sandbox.state(), pod.state().await),
            address,
            hostname: inside.lines().next().unwrap_or_default().to_owned(),
            processes: pod.processes(),
        }
    }
}

/// A pod with a port of the node's.
async fn run_forwarded(name: &str, port: i32) -> Pod {
    run_container(
        name,
        |config| {
            config.port_mappings.push(PortMapping {
                host_port: port,
                container_port: 80,
                ..Default::default()
            });
        },
        |_| {},
    )
    .await
}

/// The log is moved away and begun anew, as the kubelet does it.
async fn rotate(pod: &Pod) {
    let (old, before) = (pod.log.with_extension("log.1"), counted(&pod.log));
    fs::rename(&pod.log, &old).unwrap();
    let request = ReopenContainerLogRequest {
        container_id: pod.container.clone(),
    };
    cri().runtime().reopen_container_log(request).await.unwrap();
    support::eventually("the new log has lines", PATIENCE, || {
        let text = fs::read_to_string(&pod.log).unwrap_or_default();
        (text.lines().count() > 5).then_some(())
    });
    // No line is missing between the two, nor there twice.
    let both = fs::read_to_string(&old).unwrap() + &fs::read_to_string(&pod.log).unwrap();
    fs::write(&old, both).unwrap();
    assert!(counted(&old) > before + 5);
    fs::remove_file(&old).unwrap();
}

/// Pods of both, under both.
#[expect(clippy::print_stdout, reason = "what is not for a test to judge")]
pub(crate) async fn both_ways_with_cri_dockerd() {
    let left = network();
    cri_dockerd();
    to_cri_dockerd();
    recovers().await;
    let theirs = run_forwarded("theirs", 8081).await;
    let before = Told::of(&theirs).await;
    println!(
        "switch: the log under cri-dockerd: {:?}",
        fs::read_link(&theirs.log)
    );

    // As the document has it done: its options become dockside's.
    let file = "/etc/dockside/config.toml";
    let administrators = fs::read_to_string(file).unwrap();
    let keys = OPTIONS
        .map(|(name, value)| format!("{name} = {value:?}\n"))
        .concat();
    fs::write(file, format!("{administrators}\n{keys}")).unwrap();
    let config = run(&["dockside", "config"]);
    for (name, value) in OPTIONS {
        let line = config.lines().find(|line| line.starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.contains(value)), "{name}: {config}");
    }
    let others = to_dockside();
    recovers().await;
    assert_eq!(
        Told::of(&theirs).await,
        before,
        "what cri-dockerd made, under dockside"
    );
    if let Some(shown) = shown(&others) {
        assert!(shown.contains("theirs") && shown.contains("Ready"), "{shown}");
    }
    let request = cri::ContainerStatsRequest {
        container_id: theirs.container.clone(),
    };
    let stats = cri().runtime().container_stats(request).await;
    let stats = stats.unwrap().into_inner().stats.unwrap();
    assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);
    counts_beyond(&theirs.log, 20).await;
    rotate(&theirs).await;
    theirs.remove().await;
    assert_eq!(
        network(),
        left,
        "left of what cri-dockerd made and dockside removed"
    );

    let (ours, second) = (run_pod("ours", |_| {}).await, run_pod("second", |_| {}).await);
    let forwarded = run_forwarded("forwarded", 8082).await;
    counts_beyond(&ours.log, 5).await;
    let before = Told::of(&ours).await;
    to_cri_dockerd();
    recovers().await;
    let written = counted(&ours.log);
    assert_eq!(
        Told::of(&ours).await,
        before,
        "what dockside made, under cri-dockerd"
    );
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    println!(
        "switch: back under cri-dockerd: the log had {written} lines and has {}",
        counted(&ours.log)
    );
    ours.remove().await;
    forwarded.remove().await;
    println!(
        "switch: after two of three pods that dockside made were removed by cri-dockerd: {:?}",
        network()
    );

    to_dockside();
    recovers().await;
    counts_beyond(&second.log, written + 5).await;
    second.remove().await;
    println!("switch: after all were removed: {:?}", network());
    assert_eq!(engine().named("k8s_").len(), 0);
    assert!(Path::new(SOCKET).exists());
    fs::write(file, administrators).unwrap();
    remove_units();
}
