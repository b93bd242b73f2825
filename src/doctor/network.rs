//! CNI, packet forwarding, ports.

use std::{
    fs, io,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Finding, Node, Severity};
use crate::config::NetworkPlugin;

pub(super) fn check(node: &Node<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match node.config.network_plugin {
        NetworkPlugin::Cni => {
            findings.push(cni(node));
            findings.push(bridges(node));
        }
        NetworkPlugin::Docker => {
            findings.push(Finding::ok("network", "pods are on a bridge of the Engine's"))
        }
    }
    findings.push(forwarding(node, "ipv4", "/proc/sys/net/ipv4/ip_forward"));
    let six = node.config.pod_cidrs().iter().any(|range| range.contains(':'));
    if six {
        findings.push(forwarding(node, "ipv6", "/proc/sys/net/ipv6/conf/all/forwarding"));
    }
    findings.extend(port(node));
    findings
}

/// Configuration files, in the order in which the first usable one is taken.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("conf" | "conflist" | "json")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn cni(node: &Node<'_>) -> Finding {
    let shown = node.config.cni_conf_dir.display();
    let none = |seen: String| {
        Finding::new(
            Severity::Error,
            "cni",
            seen,
            "pods get no network, and the node is not ready",
            "install a network for the cluster, such as kubectl apply -f of Flannel, Calico or Cilium; for one node, \
             --network-plugin=docker needs none",
        )
    };
    let files = match files(&node.path(&node.config.cni_conf_dir)) {
        Ok(files) if files.is_empty() => return none(format!("no configuration in {shown}")),
        Ok(files) => files,
        Err(error) => return none(format!("{shown}: {error}")),
    };
    let mut faults = Vec::new();
    for file in &files {
        match plugins(file) {
            Err(why) => faults.push(format!("{}: {why}", file.display())),
            Ok(plugins) => {
                let missing: Vec<_> = plugins
                    .into_iter()
                    .filter(|name| !installed(node, name))
                    .collect();
                if missing.is_empty() {
                    return Finding::ok("cni", format!("{} with all its plugins", file.display()));
                }
                faults.push(format!("{}: no plugin {}", file.display(), missing.join(", ")));
            }
        }
    }
    let directories: Vec<_> = node
        .config
        .cni_bin_dir
        .iter()
        .map(|one| one.display().to_string())
        .collect();
    Finding::new(
        Severity::Error,
        "cni",
        faults.join("; "),
        format!(
            "pods get no network, and the node is not ready; plugins are looked for in {}",
            directories.join(", ")
        ),
        "apt-get install containernetworking-plugins, or add their folder to cni-bin-dir",
    )
}

/// The programs that a configuration names.
fn plugins(file: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let named = |plugin: &Value| plugin["type"].as_str().map(str::to_owned);
    let names = match document["plugins"].as_array() {
        Some(plugins) => plugins.iter().map(named).collect(),
        None => vec![named(&document)],
    };
    let names: Option<Vec<_>> = names.into_iter().collect();
    names
        .filter(|names| !names.is_empty())
        .ok_or_else(|| "it names no plugin".into())
}

fn installed(node: &Node<'_>, plugin: &str) -> bool {
    node.config.cni_bin_dir.iter().any(|directory| {
        let found = fs::metadata(node.path(directory).join(plugin));
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

fn bridges(node: &Node<'_>) -> Finding {
    match node
        .read("/proc/sys/net/bridge/bridge-nf-call-iptables")
        .as_deref()
    {
        Some("1") => Finding::ok("br-netfilter", "packets on bridges pass the packet filter"),
        found => Finding::new(
            Severity::Warning,
            "br-netfilter",
            match found {
                None => "the kernel module br_netfilter is not loaded".into(),
                Some(value) => format!("net.bridge.bridge-nf-call-iptables is {value}"),
            },
            "with a bridge network, a pod cannot reach a service whose other pod is on the same node",
            "modprobe br_netfilter && echo br_netfilter >/etc/modules-load.d/kubernetes.conf && \
             echo net.bridge.bridge-nf-call-iptables=1 >/etc/sysctl.d/kubernetes.conf && sysctl --system",
        ),
    }
}

fn forwarding(node: &Node<'_>, family: &str, file: &str) -> Finding {
    let check = "forwarding";
    if node.read(file).as_deref() == Some("1") {
        return Finding::ok(check, format!("{family} packets are forwarded"));
    }
    let key = file.trim_start_matches("/proc/sys/").replace('/', ".");
    Finding::new(
        Severity::Error,
        check,
        format!("{key} is not 1"),
        "packets do not pass between pods and the network",
        format!("echo {key}=1 >>/etc/sysctl.d/kubernetes.conf && sysctl --system"),
    )
}

/// The port of streams, if one is fixed and dockside is not there itself.
fn port(node: &Node<'_>) -> Option<Finding> {
    let address = node.config.streaming_bind_addr;
    if address.port() == 0 {
        return None;
    }
    Some(match TcpListener::bind(address) {
        Ok(_) => Finding::ok("streaming-port", format!("{address} is free")),
        Err(error) => Finding::new(
            Severity::Note,
            "streaming-port",
            format!("{address}: {error}"),
            "unless it is dockside that serves there, it cannot start",
            format!(
                "ss -tlnp 'sport = :{}' tells who; choose another --streaming-bind-addr",
                address.port()
            ),
        ),
    })
}
