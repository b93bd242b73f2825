//! The kubelet's configuration beside the Engine's and ours.

use std::{fs, path::PathBuf};

use super::{Finding, Node, Severity};

/// Where the kubelet serves unless its configuration says otherwise.
const KUBELETS_PORT: u16 = 10250;

/// Where kubeadm, and who follows it, keep it.
const CONFIG: &str = "/var/lib/kubelet/config.yaml";

/// Where flags of the kubelet are kept.
const FLAGS: [&str; 3] = [
    "/var/lib/kubelet/kubeadm-flags.env",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
];

pub(super) fn check(node: &Node<'_>) -> Vec<Finding> {
    let Some(config) = node.read(CONFIG) else {
        return vec![Finding::new(
            Severity::Note,
            "kubelet",
            format!("{CONFIG} is not there"),
            "what the kubelet wants could not be compared with the Engine",
            format!(
                "give the kubelet --container-runtime-endpoint={}",
                node.config
                    .container_runtime_endpoint
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            ),
        )];
    };
    let mut findings = Vec::new();
    findings.extend(driver(node, &config));
    findings.extend(endpoint(node, &config));
    findings.push(swap(node, &config));
    findings.push(port(node, &config));
    findings
}

/// Where the kubelet itself serves, and does not start if somebody else does.
fn port(node: &Node<'_>, config: &str) -> Finding {
    let check = "kubelet-port";
    let port = value(config, "port")
        .and_then(|text| text.parse().ok())
        .unwrap_or(KUBELETS_PORT);
    let Some(socket) = listening(node, port) else {
        return Finding::ok(check, format!("port {port} is free for the kubelet"));
    };
    match owner(node, &socket) {
        Some(name) if name == "kubelet" => Finding::ok(check, format!("the kubelet serves at port {port}")),
        other => Finding::new(
            Severity::Error,
            check,
            format!(
                "port {port} is taken by {}",
                other.as_deref().unwrap_or("a process that is not seen from here")
            ),
            "the kubelet serves there, for logs and exec among others, and does not start without it",
            format!("ss -tlnp 'sport = :{port}' tells who; stop that, or set port: in {CONFIG}"),
        ),
    }
}

/// The number of the socket that listens at a TCP port, by the kernel's tables.
fn listening(node: &Node<'_>, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let local = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = node.read(table)?;
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [_, at, _, state, _, _, _, _, _, socket, ..] = fields[..] else {
                return None;
            };
            (at.ends_with(&local) && state == LISTEN).then(|| socket.to_owned())
        })
    })
}

/// The name of a process that has this socket open.
fn owner(node: &Node<'_>, socket: &str) -> Option<String> {
    let link = PathBuf::from(format!("socket:[{socket}]"));
    for process in fs::read_dir(node.path("/proc")).ok()?.flatten() {
        let process = process.path();
        let mut open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        if open.any(|file| fs::read_link(file.path()).is_ok_and(|target| target == link)) {
            return Some(fs::read_to_string(process.join("comm")).ok()?.trim().to_owned());
        }
    }
    None
}

/// A key of the document's top level. The file is written by kubeadm, and these keys are plain words there.
fn value<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let line = config
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let value = line.split(" #").next().unwrap_or_default().trim();
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then_some(value)
}

fn driver(node: &Node<'_>, config: &str) -> Option<Finding> {
    let engine = node.engine.as_ref().ok()?.info["CgroupDriver"]
        .as_str()?
        .to_owned();
    // The kubelet's own default; kubeadm writes systemd.
    let kubelet = value(config, "cgroupDriver").unwrap_or("cgroupfs");
    if engine == kubelet {
        return Some(Finding::ok(
            "cgroup-driver",
            format!("the Engine and the kubelet both use {engine}"),
        ));
    }
    Some(Finding::new(
        Severity::Error,
        "cgroup-driver",
        format!("the Engine's cgroup driver is {engine}, {CONFIG} says {kubelet}"),
        "two drivers manage one tree: pods do not start, or their limits do not hold. A kubelet from 1.28 on asks dockside, \
         and its own setting does not count",
        format!(
            "put \"exec-opts\": [\"native.cgroupdriver={kubelet}\"] into /etc/docker/daemon.json, then: systemctl restart docker; \
             or set cgroupDriver: {engine} in {CONFIG}, then: systemctl restart kubelet"
        ),
    ))
}

fn endpoint(node: &Node<'_>, config: &str) -> Option<Finding> {
    let flags: Vec<_> = FLAGS.iter().filter_map(|file| node.read(file)).collect();
    let flagged = flags.iter().find_map(|text| {
        let (_, rest) = text.split_once("--container-runtime-endpoint")?;
        rest.trim_start_matches(['=', ' ']).split([' ', '"', '\'']).next()
    });
    let wanted = flagged.or_else(|| value(config, "containerRuntimeEndpoint"))?;
    let plain = |endpoint: &str| {
        let path = endpoint.trim_start_matches("unix://");
        path.strip_prefix("/var/run/")
            .map_or_else(|| path.to_owned(), |rest| format!("/run/{rest}"))
    };
    let served = node
        .config
        .container_runtime_endpoint
        .iter()
        .map(ToString::to_string);
    let mut served: Vec<_> = served.collect();
    // Systemd's socket unit listens there.
    if node.exists("/usr/lib/systemd/system/dockside.socket") || served.iter().any(|one| one == "fd://") {
        served.push("unix:///run/cri-dockerd.sock".into());
    }
    if served.iter().any(|one| plain(one) == plain(wanted)) {
        return Some(Finding::ok(
            "kubelet-endpoint",
            format!("the kubelet connects to {wanted}"),
        ));
    }
    Some(Finding::new(
        Severity::Error,
        "kubelet-endpoint",
        format!(
            "the kubelet connects to {wanted}, dockside serves {}",
            served.join(", ")
        ),
        "the kubelet's pods go to another runtime",
        format!(
            "set containerRuntimeEndpoint: {} in {CONFIG}, then: systemctl restart kubelet",
            served[0]
        ),
    ))
}

fn swap(node: &Node<'_>, config: &str) -> Finding {
    let swaps = node.read("/proc/swaps").unwrap_or_default();
    let swaps: Vec<_> = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if swaps.is_empty() {
        return Finding::ok("swap", "there is no swap");
    }
    let names = swaps.join(", ");
    if value(config, "failSwapOn") == Some("false") {
        return Finding::ok(
            "swap",
            format!("swap on {names}, and failSwapOn: false lets the kubelet start"),
        );
    }
    Finding::new(
        Severity::Error,
        "swap",
        format!("swap on {names}"),
        "the kubelet does not start with swap unless failSwapOn is false",
        format!("swapoff -a and remove it from /etc/fstab, or set failSwapOn: false in {CONFIG}"),
    )
}
