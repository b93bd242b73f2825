//! The package and cri-dockerd's units, with a program in their place that does nothing, unless cri-dockerd was brought.

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

use super::{
    extra::{EXTRA, brought},
    setup::{PACKAGE, nothing_is_left},
};
use crate::{
    documents,
    logs::{counted, counts_beyond},
    node::{SERVICE, SOCKET, SOCKET_UNIT, cri, lists, property, recovers, run, run_pod},
};

/// Where an administrator has units.
const UNITS: &str = "/etc/systemd/system";

/// Installs the units under cri-dockerd's names, as its packages have them.
pub(super) fn units(program: &str) {
    units_of(THEIRS, program);
}

/// The same under other names: the socket's and the service's.
fn units_of([socket, service]: [&str; 2], program: &str) {
    fs::write(
        format!("{UNITS}/{service}"),
        format!(
            "[Unit]\nAfter=docker.service\nRequires={socket}\n\
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
        format!("{UNITS}/{socket}"),
        format!(
            "[Unit]\nPartOf={service}\n\
             [Socket]\nListenStream=%t/cri-dockerd.sock\nSocketMode=0660\n\
             [Install]\nWantedBy=sockets.target\n"
        ),
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
/// As Kubespray names them.
const KUBESPRAYS: [&str; 2] = ["cri-dockerd.socket", "cri-dockerd.service"];

pub(super) fn remove_units() {
    remove_units_of(THEIRS);
}

fn remove_units_of(names: [&str; 2]) {
    for unit in names {
        fs::remove_file(format!("{UNITS}/{unit}")).unwrap();
    }
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
    // Who installs it again has a node as before.
    documents::install(PACKAGE);
    for unit in OURS {
        assert_eq!(property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    recovers().await;
    assert_eq!(lists().await, before);
    assert_eq!(pod.processes(), processes);
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

/// Whoever has the path keeps it, and so does whoever would have it after the next start.
pub(crate) async fn an_installation_takes_nothing_away() {
    run(&["dpkg", "--purge", "dockside"]);
    let alone = |what: &str| {
        for unit in OURS {
            assert_ne!(property(unit, "ActiveState"), "active", "{unit} beside {what}");
            assert_eq!(
                property(unit, "UnitFileState"),
                "disabled",
                "{unit} beside {what}"
            );
        }
        run(&["dpkg", "--purge", "dockside"]);
    };

    units_of(KUBESPRAYS, "/bin/sleep infinity");
    run(&["systemctl", "enable", "--now", KUBESPRAYS[0], KUBESPRAYS[1]]);
    documents::install(PACKAGE);
    serve(KUBESPRAYS, OURS);
    // They are known as cri-dockerd's: whoever is started stops the other.
    run(&["systemctl", "start", OURS[0], OURS[1]]);
    for unit in KUBESPRAYS {
        assert_ne!(property(unit, "ActiveState"), "active", "{unit}");
    }
    recovers().await;
    run(&["dpkg", "--purge", "dockside"]);

    // An image that is being built: no systemd runs, and nothing else either.
    let built = format!("mount -t tmpfs tmpfs /run && dpkg --install {PACKAGE}");
    run(&["unshare", "--mount", "sh", "-ec", &built]);
    run(&["systemctl", "daemon-reload"]);
    alone("units that are enabled");
    run(&["systemctl", "disable", KUBESPRAYS[0], KUBESPRAYS[1]]);
    remove_units_of(KUBESPRAYS);
    run(&["unshare", "--mount", "sh", "-ec", &built]);
    run(&["systemctl", "daemon-reload"]);
    for unit in OURS {
        assert_eq!(property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    run(&["dpkg", "--purge", "dockside"]);

    // A program that no unit tells of.
    let other = UnixListener::bind(SOCKET).unwrap();
    documents::install(PACKAGE);
    UnixStream::connect(SOCKET).unwrap();
    other.accept().unwrap();
    alone("a program that listens");
    drop(other);
    fs::remove_file(SOCKET).unwrap();
    nothing_is_left();
}
