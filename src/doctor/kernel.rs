//! The kernel's side: cgroups, and what this process may do.

use rustix::process::geteuid;

use super::{Finding, Node, Severity};

/// Controllers that limits of pods are set by.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

pub(super) fn check(node: &Node<'_>) -> Vec<Finding> {
    let mut findings = vec![cgroups(node)];
    findings.extend(namespaces(node));
    if geteuid().is_root() {
        findings.push(Finding::ok("root", "run by root"));
    } else {
        findings.push(Finding::new(
            Severity::Warning,
            "root",
            "not run by root",
            "dockside serves as root only, and other findings may be wrong because files could not be read",
            "sudo dockside doctor",
        ));
    }
    findings
}

fn cgroups(node: &Node<'_>) -> Finding {
    let Some(found) = node.read("/sys/fs/cgroup/cgroup.controllers") else {
        return Finding::new(
            Severity::Note,
            "cgroups",
            "cgroup v1",
            "it works, but memory QoS, swap for pods and pressure figures need v2, and newer kubelets refuse v1 unless \
             failCgroupV1 is false",
            "boot with systemd.unified_cgroup_hierarchy=1",
        );
    };
    let found: Vec<_> = found.split_whitespace().collect();
    let missing: Vec<_> = CONTROLLERS
        .into_iter()
        .filter(|name| !found.contains(name))
        .collect();
    if missing.is_empty() {
        return Finding::ok("cgroups", "cgroup v2 with all controllers");
    }
    Finding::new(
        Severity::Error,
        "cgroups",
        format!("cgroup v2 without {}", missing.join(", ")),
        "limits of pods that need these cannot be set, and the kubelet does not start",
        "remove cgroup_disable= from the kernel's command line; on a Raspberry Pi add cgroup_enable=memory",
    )
}

/// Pods' namespaces are pinned by mounts, which have to be seen by everybody on the node.
fn namespaces(node: &Node<'_>) -> Option<Finding> {
    let of = |process: &str| std::fs::read_link(node.path(format!("/proc/{process}/ns/mnt"))).ok();
    let (own, first) = (of("self")?, of("1")?);
    Some(if own == first {
        Finding::ok("mount-namespace", "the node's own")
    } else {
        Finding::new(
            Severity::Note,
            "mount-namespace",
            "this process is not in the mount namespace of process 1",
            "in a unit with ProtectSystem=, PrivateTmp= and the like, or in a container, pinned network namespaces of \
             pods would not be seen by the node, and be lost at a restart",
            "use the unit that comes with dockside",
        )
    })
}
