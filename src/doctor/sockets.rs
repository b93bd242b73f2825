//! CRI's sockets: ours, cri-dockerd's, and those of other runtimes.

use std::{
    fs,
    os::unix::{fs::FileTypeExt, net::UnixStream},
};

use super::{Finding, Node, Severity};
use crate::grpc::listen::Endpoint;

/// Sockets that kubeadm and crictl find by themselves.
const OTHERS: [(&str, &str); 3] = [
    ("containerd", "/run/containerd/containerd.sock"),
    ("CRI-O", "/run/crio/crio.sock"),
    ("dockershim", "/run/dockershim.sock"),
];

/// cri-dockerd's units, as its packages name them and as Kubespray does.
const CRI_DOCKERD: [[&str; 2]; 2] = [
    ["cri-docker.socket", "cri-docker.service"],
    ["cri-dockerd.socket", "cri-dockerd.service"],
];

pub(super) fn check(node: &Node<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> = node
        .config
        .container_runtime_endpoint
        .iter()
        .map(|one| own(node, one))
        .collect();
    findings.push(units(node));
    findings.push(others(node));
    findings
}

fn own(node: &Node<'_>, endpoint: &Endpoint) -> Finding {
    let Endpoint::Path(path) = endpoint else {
        return Finding::ok("socket", "systemd's sockets are served");
    };
    let shown = path.display();
    let found = node.path(path);
    match fs::symlink_metadata(&found) {
        Err(_) => Finding::new(
            Severity::Note,
            "socket",
            format!("nobody serves {shown}"),
            "the kubelet finds no runtime until somebody does",
            "systemctl enable --now dockside.socket dockside.service",
        ),
        Ok(file) if !file.file_type().is_socket() => Finding::new(
            Severity::Error,
            "socket",
            format!("{shown} is no socket"),
            "dockside does not start: it may be somebody's data",
            format!("rm -r {shown}, if it is not"),
        ),
        Ok(_) => match UnixStream::connect(&found) {
            Ok(_) => Finding::ok("socket", format!("{shown} is served")),
            Err(error) => Finding::new(
                Severity::Note,
                "socket",
                format!("{shown} is there, and nobody serves it ({error})"),
                "a process that was killed has left it; dockside replaces it at its start",
                "systemctl enable --now dockside.socket dockside.service",
            ),
        },
    }
}

/// Two units at one path: whichever starts last has it.
fn units(node: &Node<'_>) -> Finding {
    let enabled = |unit: &str| {
        ["sockets.target.wants", "multi-user.target.wants"]
            .iter()
            .any(|target| node.exists(format!("/etc/systemd/system/{target}/{unit}")))
    };
    let cri_dockerd: Vec<_> = CRI_DOCKERD
        .into_iter()
        .filter(|pair| pair.iter().any(|unit| enabled(unit)))
        .flatten()
        .collect();
    let found: Vec<_> = cri_dockerd.iter().copied().filter(|unit| enabled(unit)).collect();
    let (found, theirs) = (found.join(", "), cri_dockerd.join(" "));
    let ours = enabled("dockside.socket") || enabled("dockside.service");
    match (found.is_empty(), ours) {
        (false, true) => Finding::new(
            Severity::Error,
            "units",
            format!("{found} and dockside are both enabled"),
            "they serve the same path, so systemd starts only one of them at the next boot, and which is chance",
            format!("systemctl disable {theirs}"),
        ),
        (false, false) => Finding::new(
            Severity::Note,
            "units",
            format!("{found} is enabled, dockside is not"),
            "this node runs its pods by cri-dockerd; dockside takes them over while they run",
            format!(
                "systemctl disable --now {theirs} && systemctl enable --now dockside.socket dockside.service"
            ),
        ),
        (true, true) => Finding::ok("units", "dockside starts with the node"),
        (true, false) => Finding::new(
            Severity::Note,
            "units",
            "dockside does not start with the node",
            "after the next boot the kubelet would find no runtime",
            "systemctl enable --now dockside.socket dockside.service",
        ),
    }
}

fn others(node: &Node<'_>) -> Finding {
    let found: Vec<_> = OTHERS
        .iter()
        .filter(|(_, path)| node.exists(path))
        .map(|(name, path)| format!("{name}'s {path}"))
        .collect();
    if found.is_empty() {
        return Finding::ok("other-sockets", "no other CRI socket is there");
    }
    Finding::new(
        Severity::Note,
        "other-sockets",
        format!("also there: {}", found.join(", ")),
        "kubeadm and crictl refuse to choose between several sockets, or choose another (the Engine's containerd is one)",
        "give kubeadm --cri-socket unix:///run/cri-dockerd.sock, and crictl --runtime-endpoint unix:///run/cri-dockerd.sock",
    )
}
