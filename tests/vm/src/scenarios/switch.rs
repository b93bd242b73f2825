//! The package and cri-dockerd's units, with a program in their place that does nothing, unless cri-dockerd was brought.

use std::{fs, path::Path};

use super::{
    extra::{EXTRA, brought},
    setup::{PACKAGE, nothing_is_left},
};
use crate::{
    documents,
    logs::{counted, counts_beyond},
    node::{SERVICE, SOCKET, SOCKET_UNIT, cri, lists, property, recovers, run, run_pod},
};

const UNIT: &str = "/etc/systemd/system/cri-docker.service";
const SOCKET_FILE: &str = "/etc/systemd/system/cri-docker.socket";

/// Installs the units under cri-dockerd's names, as its packages have them.
pub(super) fn units(program: &str) {
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

/// What an administrator may have given cri-dockerd, and how dockside's file has it.
pub(super) const OPTIONS: [(&str, &str); 3] = [
    ("network-plugin", "cni"),
    ("cni-bin-dir", "/usr/lib/cni"),
    ("pod-infra-container-image", "127.0.0.1:5000/pause:3.10"),
];

/// Installs the units of the cri-dockerd that was brought.
#[expect(clippy::print_stdout, reason = "which it is belongs to the result")]
pub(super) fn cri_dockerd() {
    let program = brought("cri-dockerd");
    println!("switch: {}", run(&[&program, "--version"]));
    let flags = OPTIONS.map(|(name, value)| format!(" --{name} {value}")).concat();
    units(&format!("{program} --container-runtime-endpoint fd://{flags}"));
}

/// What `crictl`, if it was brought, shows by the commands that are left for an administrator.
#[expect(clippy::print_stdout, reason = "for a reader of the results")]
pub(super) fn shown(others: &[String]) -> Option<String> {
    if !Path::new(EXTRA).join("crictl").exists() {
        return None;
    }
    let shown = others.iter().map(|command| {
        let shown = run(&["sh", "-c", &format!("PATH=$PATH:{EXTRA}; {command}")]);
        println!("switch: {command}:\n{shown}");
        shown
    });
    Some(shown.collect())
}

/// Has dockside take over; returns what else there is to do.
pub(super) fn to_dockside() -> Vec<String> {
    let others = documents::switch_to_dockside();
    serve(OURS, THEIRS);
    others
}

/// Has cri-dockerd take over.
pub(super) fn to_cri_dockerd() {
    documents::switch_to_cri_dockerd();
    serve(THEIRS, OURS);
}

/// Fails unless these units serve, now and after the next boot, and those do not.
fn serve(these: [&str; 2], those: [&str; 2]) {
    for unit in these {
        assert_eq!(property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    for unit in those {
        assert_ne!(property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(property(unit, "UnitFileState"), "disabled", "{unit}");
    }
}

const OURS: [&str; 2] = [SOCKET_UNIT, SERVICE];
const THEIRS: [&str; 2] = ["cri-docker.socket", "cri-docker.service"];

pub(super) fn remove_units() {
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
    documents::install(PACKAGE);
    serve(THEIRS, OURS);
    let written = counted(&pod.log);
    to_dockside();
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
