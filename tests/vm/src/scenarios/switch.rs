//! From cri-dockerd to dockside and back, as `deploy/switch.md` says.

use std::{fs, path::Path};

use cri::{ContainerState, PodSandboxState};

use super::setup::{PACKAGE, nothing_is_left};
use crate::{
    logs::{counted, counts_beyond},
    node::{
        PATIENCE, Pod, SERVICE, SOCKET, SOCKET_UNIT, cri, engine, lists, property, recovers, run, run_pod,
    },
};

/// Where `DOCKSIDE_VM_EXTRA` is found, with cri-dockerd in it.
const PROGRAM: &str = "/payload/extra/cri-dockerd";

const UNIT: &str = "/etc/systemd/system/cri-docker.service";
const SOCKET_FILE: &str = "/etc/systemd/system/cri-docker.socket";

/// Installs the units under cri-dockerd's names, as its packages have them.
fn units(program: &str) {
    fs::write(
        UNIT,
        format!(
            "[Unit]\nAfter=docker.service\nRequires=cri-docker.socket\n\
             [Service]\nType={}\nExecStart={program}\nRestart=always\nKillMode=process\nDelegate=yes\n\
             [Install]\nWantedBy=multi-user.target\n",
            if program.contains("sleep") {
                "exec"
            } else {
                "notify"
            },
        ),
    )
    .unwrap();
    fs::write(
        SOCKET_FILE,
        "[Unit]\nPartOf=cri-docker.service\n\
         [Socket]\nListenStream=%t/cri-dockerd.sock\nSocketMode=0660\n\
         [Install]\nWantedBy=sockets.target\n",
    )
    .unwrap();
    run(&["systemctl", "daemon-reload"]);
}

/// The two commands of `deploy/switch.md`.
fn switch(from: [&str; 2], to: [&str; 2]) {
    run(&["systemctl", "disable", "--now", from[0], from[1]]);
    run(&["systemctl", "enable", "--now", to[0], to[1]]);
    for unit in to {
        assert_eq!(property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    for unit in from {
        assert_ne!(property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(property(unit, "UnitFileState"), "disabled", "{unit}");
    }
}

const OURS: [&str; 2] = [SOCKET_UNIT, SERVICE];
const THEIRS: [&str; 2] = ["cri-docker.socket", "cri-docker.service"];

fn remove_units() {
    fs::remove_file(UNIT).unwrap();
    fs::remove_file(SOCKET_FILE).unwrap();
    run(&["systemctl", "daemon-reload"]);
}

/// Pods do not notice that the package goes and comes, nor that units change places; and nothing is left in the end.
pub(crate) async fn pods_outlive_the_package_and_the_change_of_units() {
    let pod = run_pod("outlives", |_| {}).await;
    counts_beyond(&pod.log, 2).await;
    let (before, processes) = (lists().await, pod.processes());
    run(&["dpkg", "--remove", "dockside"]);
    assert!(!Path::new(SOCKET).exists());
    assert!(
        Path::new("/etc/dockside/config.toml").exists(),
        "what an administrator wrote stays"
    );
    run(&["dpkg", "--purge", "dockside"]);
    nothing_is_left();

    // The package does not disturb a node that runs cri-dockerd.
    units("/bin/sleep infinity");
    run(&["systemctl", "enable", "--now", THEIRS[0], THEIRS[1]]);
    run(&["dpkg", "--install", PACKAGE]);
    for unit in THEIRS {
        assert_eq!(property(unit, "ActiveState"), "active", "{unit}");
    }
    for unit in OURS {
        assert_eq!(property(unit, "ActiveState"), "inactive", "{unit}");
        assert_eq!(property(unit, "UnitFileState"), "disabled", "{unit}");
    }
    let written = counted(&pod.log);
    switch(THEIRS, OURS);
    recovers().await;
    assert_eq!(lists().await, before);
    assert_eq!(pod.processes(), processes);
    counts_beyond(&pod.log, written + 5).await;
    assert_eq!(cri().sh(&pod.container, "echo here").await, "here");
    // Without a `disable`, whoever is started stops the other.
    run(&["systemctl", "start", THEIRS[0]]);
    assert_ne!(property(SOCKET_UNIT, "ActiveState"), "active");
    run(&["systemctl", "start", OURS[0], OURS[1]]);
    for unit in THEIRS {
        assert_ne!(property(unit, "ActiveState"), "active", "{unit}");
    }
    recovers().await;
    assert_eq!(pod.processes(), processes);
    pod.remove().await;
    remove_units();
    run(&["dpkg", "--purge", "dockside"]);
    nothing_is_left();
}

/// What is told of a pod, whoever serves.
async fn told(pod: &Pod) -> (PodSandboxState, ContainerState, String, String) {
    let cri = cri();
    let sandbox = cri.sandbox_status(&pod.sandbox).await;
    let inside = cri
        .sh(&pod.container, "hostname; ip -4 -o addr show dev eth0")
        .await;
    let address = sandbox.network.as_ref().unwrap().ip.clone();
    assert!(inside.contains(&format!(" {address}/")), "{address}: {inside}");
    let name = inside.lines().next().unwrap_or_default().to_owned();
    (sandbox.state(), pod.state().await, address, name)
}

/// What CNI has left on the node: addresses that are taken, veths on the bridge, cached results.
fn network() -> Vec<String> {
    let names = |place: &str| {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
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
    left.extend(
        run(&["ip", "-o", "link", "show", "master", "cni0"])
            .lines()
            .map(str::to_owned),
    );
    left
}

/// Both ways with cri-dockerd itself, which is not part of this project:
/// `DOCKSIDE_VM_EXTRA=FOLDER tests/vm/run.sh with_cri_dockerd`, where FOLDER has the program `cri-dockerd`.
#[expect(clippy::print_stdout, reason = "what is not for a test to judge")]
pub(crate) async fn both_ways_with_cri_dockerd() {
    assert!(
        Path::new(PROGRAM).exists(),
        "there is no {PROGRAM}: see DOCKSIDE_VM_EXTRA"
    );
    let left = network();
    units(&format!(
        "{PROGRAM} --container-runtime-endpoint fd:// --network-plugin cni --cni-bin-dir /usr/lib/cni \
         --pod-infra-container-image 127.0.0.1:5000/pause:3.10"
    ));
    switch(OURS, THEIRS);
    recovers().await;
    let theirs = run_pod("theirs", |_| {}).await;
    let (processes, before) = (theirs.processes(), told(&theirs).await);
    println!(
        "switch: under cri-dockerd: {before:?}, log {:?}",
        fs::read_link(&theirs.log)
    );

    switch(THEIRS, OURS);
    recovers().await;
    assert_eq!((theirs.processes(), told(&theirs).await), (processes, before));
    println!(
        "switch: under dockside: log {:?}: {:?}",
        fs::read_link(&theirs.log),
        first_line(&theirs.log)
    );
    let request = cri::ContainerStatsRequest {
        container_id: theirs.container.clone(),
    };
    let stats = cri()
        .runtime()
        .container_stats(request)
        .await
        .unwrap()
        .into_inner()
        .stats
        .unwrap();
    assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);
    let before = fs::metadata(&theirs.log).unwrap().len();
    support::eventually("its log goes on", PATIENCE, || {
        (fs::metadata(&theirs.log).unwrap().len() > before).then_some(())
    });
    theirs.remove().await;
    assert_eq!(
        network(),
        left,
        "after what cri-dockerd made was removed by dockside"
    );

    let (ours, second) = (run_pod("ours", |_| {}).await, run_pod("second", |_| {}).await);
    counts_beyond(&ours.log, 5).await;
    let (processes, before) = (ours.processes(), told(&ours).await);
    let written = counted(&ours.log);
    switch(OURS, THEIRS);
    recovers().await;
    assert_eq!((ours.processes(), told(&ours).await), (processes, before));
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    println!(
        "switch: back under cri-dockerd: the log had {written} lines and has {}",
        counted(&ours.log)
    );
    ours.remove().await;
    println!(
        "switch: after what dockside made was removed by cri-dockerd: {:?}",
        network()
    );

    switch(THEIRS, OURS);
    recovers().await;
    counts_beyond(&second.log, written + 5).await;
    second.remove().await;
    support::eventually("nothing is left", PATIENCE, || (network() == left).then_some(()));
    assert_eq!(engine().named("k8s_").len(), 0);
    assert!(Path::new(SOCKET).exists());
    remove_units();
}

fn first_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
