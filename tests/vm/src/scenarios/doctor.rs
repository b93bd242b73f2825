//! `dockside doctor` on a node that is well, and on one that is not.

use std::{collections::BTreeMap, fs, net::TcpListener, process::Command};

use serde_json::Value;

use crate::node::{run, text};

const KUBELET: &str = "/var/lib/kubelet/config.yaml";

/// What kubeadm writes, as far as it is looked at.
const WELL: &str = "kind: KubeletConfiguration\ncgroupDriver: systemd\nfailSwapOn: false\n\
                    containerRuntimeEndpoint: unix:///run/cri-dockerd.sock\n";

const NETWORK: &str = "/etc/cni/net.d/10-node.conflist";

/// Its status, and the severities of what it found, by check.
fn doctor() -> (i32, BTreeMap<String, String>) {
    let output = Command::new("dockside")
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.map(|one| (text(&one["check"]).to_owned(), text(&one["severity"]).to_owned()));
    (output.status.code().unwrap(), findings.collect())
}

fn sysctl(setting: &str) {
    run(&["sysctl", "--quiet", "--write", setting]);
}

/// Spoils something, and expects this of this check.
fn finds(check: &str, severity: &str) {
    let (status, findings) = doctor();
    assert_eq!(findings[check], severity, "{check}: {findings:?}");
    assert_eq!(status, if severity == "error" { 2 } else { 1 }, "{findings:?}");
}

pub(crate) async fn the_doctor_finds_what_a_node_lacks() {
    // As the documentation of every network has it done.
    run(&["modprobe", "br_netfilter"]);
    sysctl("net.bridge.bridge-nf-call-iptables=1");
    sysctl("net.ipv4.ip_forward=1");
    fs::create_dir_all("/var/lib/kubelet").unwrap();
    fs::write(KUBELET, WELL).unwrap();
    let (status, mut findings) = doctor();
    // Of this Engine: it is set up to end pods with itself, and is too old for CDI.
    assert_eq!(findings.remove("live-restore").as_deref(), Some("warning"));
    assert_eq!(status, 1, "{findings:?}");
    let worse: Vec<_> = findings
        .iter()
        .filter(|(_, severity)| *severity == "warning" || *severity == "error")
        .collect();
    assert!(worse.is_empty(), "{worse:?}");
    for check in [
        "engine",
        "cgroups",
        "cgroup-driver",
        "kubelet-endpoint",
        "kubelet-port",
        "swap",
        "cni",
        "units",
    ] {
        assert_eq!(findings[check], "ok", "{check}: {findings:?}");
    }

    fs::write(KUBELET, WELL.replace("systemd", "cgroupfs")).unwrap();
    finds("cgroup-driver", "error");
    fs::write(KUBELET, WELL.replace("failSwapOn: false", "")).unwrap();
    finds("swap", "error");
    fs::write(KUBELET, WELL).unwrap();
    {
        let _other = TcpListener::bind("0.0.0.0:10250").unwrap();
        finds("kubelet-port", "error");
    }
    fs::rename(NETWORK, "/root/away").unwrap();
    finds("cni", "error");
    fs::rename("/root/away", NETWORK).unwrap();
    sysctl("net.ipv4.ip_forward=0");
    finds("forwarding", "error");
    sysctl("net.ipv4.ip_forward=1");
    sysctl("net.bridge.bridge-nf-call-iptables=0");
    finds("br-netfilter", "warning");
    // Not by modprobe, which would remove the bridges too.
    run(&["rmmod", "br_netfilter"]);
    finds("br-netfilter", "warning");
    run(&["systemctl", "stop", "docker.socket", "docker.service"]);
    finds("engine", "error");
    run(&["systemctl", "start", "docker.socket", "docker.service"]);
    fs::remove_dir_all("/var/lib/kubelet").unwrap();
    crate::node::recovers().await;
}
