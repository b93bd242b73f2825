use std::fs;

use clap::Parser;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::cli::Cli;

/// A node on which all is well, to be spoilt.
struct Made {
    root: TempDir,
    flags: Vec<String>,
    info: serde_json::Value,
}

impl Made {
    fn new() -> Self {
        let made = Self {
            root: TempDir::new().unwrap(),
            flags: vec!["dockside".into()],
            info: json!({
                "ServerVersion": "28.5.2", "LiveRestoreEnabled": true, "DockerRootDir": "/var/lib/docker",
                "Driver": "overlay2", "CgroupDriver": "systemd", "CDISpecDirs": ["/etc/cdi"],
                "SecurityOptions": ["name=seccomp,profile=builtin"], "Warnings": null,
            }),
        };
        made.file(
            "/sys/fs/cgroup/cgroup.controllers",
            "cpuset cpu io memory hugetlb pids\n",
        );
        made.file(
            "/var/lib/kubelet/config.yaml",
            "cgroupDriver: systemd\ncontainerRuntimeEndpoint: \"\"\n",
        );
        made.file("/proc/swaps", "Filename Type Size Used Priority\n");
        made.file(
            "/etc/cni/net.d/10-net.conflist",
            r#"{"name": "n", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}"#,
        );
        for plugin in ["bridge", "portmap"] {
            let path = format!("/opt/cni/bin/{plugin}");
            made.file(&path, "");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(made.root.path().join(&path[1..]), mode).unwrap();
        }
        made.file("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n");
        made.file("/proc/sys/net/ipv4/ip_forward", "1\n");
        made.file("/etc/systemd/system/sockets.target.wants/dockside.socket", "");
        fs::create_dir_all(made.root.path().join("var/lib/docker/containers")).unwrap();
        made
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.path().join(&path[1..]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn gone(&self, path: &str) {
        let path = self.root.path().join(&path[1..]);
        fs::remove_file(&path)
            .or_else(|_| fs::remove_dir_all(&path))
            .unwrap();
    }

    fn report_with(&self, engine: Result<View, String>) -> Report {
        let cli = Cli::try_parse_from(&self.flags).unwrap();
        examine(&Node {
            root: self.root.path().into(),
            config: &cli.options,
            engine,
        })
    }

    fn report(&self) -> Report {
        self.report_with(Ok(View {
            api: Some(translate::facts::ApiVersion::CEILING),
            info: self.info.clone(),
            pause: true,
            may_lower_oom: true,
        }))
    }

    /// The one finding of a check that is worse than a note.
    fn fault(&self, check: &str) -> Finding {
        let report = self.report();
        let mut found = report
            .findings
            .into_iter()
            .filter(|finding| finding.check == check);
        let finding = found.find(|finding| finding.severity > Severity::Note);
        finding.unwrap_or_else(|| panic!("{check} finds nothing wrong"))
    }
}

#[test]
fn a_good_node_has_nothing_worse_than_notes() {
    let report = Made::new().report();
    assert!(report.worst() <= Severity::Note, "{report}");
    assert_eq!(report.exit_code(), ExitCode::SUCCESS);
    assert!(report.to_string().contains("0 warnings, 0 errors"));
}

/// What is spoilt, the check that must notice, and what it must tell of it.
type Case = (fn(&mut Made), &'static str, Severity, &'static str);

#[test]
fn each_fault_is_noticed_with_its_reason_and_its_remedy() {
    let cases: &[Case] = &[
        (
            |n| n.info["LiveRestoreEnabled"] = json!(false),
            "live-restore",
            Severity::Warning,
            "is off",
        ),
        (
            |n| n.info["SecurityOptions"] = json!(["name=userns"]),
            "userns-remap",
            Severity::Warning,
            "remaps",
        ),
        (
            |n| n.info["Driver"] = json!("vfs"),
            "image-store",
            Severity::Warning,
            "vfs",
        ),
        (
            |n| n.gone("/var/lib/docker/containers"),
            "engine-data",
            Severity::Error,
            "No such file",
        ),
        (
            |n| n.file("/sys/fs/cgroup/cgroup.controllers", "cpu pids"),
            "cgroups",
            Severity::Error,
            "without cpuset, io, memory",
        ),
        (
            |n| n.info["CgroupDriver"] = json!("cgroupfs"),
            "cgroup-driver",
            Severity::Error,
            "Engine's cgroup driver is cgroupfs",
        ),
        (
            |n| n.file("/var/lib/kubelet/config.yaml", "kind: x"),
            "cgroup-driver",
            Severity::Error,
            "says cgroupfs",
        ),
        (
            |n| {
                n.file(
                    "/var/lib/kubelet/config.yaml",
                    "cgroupDriver: systemd\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock",
                )
            },
            "kubelet-endpoint",
            Severity::Error,
            "connects to unix:///run/containerd/containerd.sock, dockside serves unix:///var/run/cri-dockerd.sock",
        ),
        (
            |n| {
                n.file(
                    "/var/lib/kubelet/kubeadm-flags.env",
                    "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/crio/crio.sock --x\"",
                )
            },
            "kubelet-endpoint",
            Severity::Error,
            "connects to unix:///run/crio/crio.sock,",
        ),
        (
            |n| n.file("/proc/swaps", "Filename\n/dev/sda2 partition"),
            "swap",
            Severity::Error,
            "swap on /dev/sda2",
        ),
        (
            |n| n.gone("/etc/cni/net.d/10-net.conflist"),
            "cni",
            Severity::Error,
            "no configuration",
        ),
        (
            |n| n.gone("/etc/cni/net.d"),
            "cni",
            Severity::Error,
            "No such file",
        ),
        (
            |n| n.gone("/opt/cni/bin/portmap"),
            "cni",
            Severity::Error,
            "no plugin portmap",
        ),
        (
            |n| n.file("/etc/cni/net.d/10-net.conflist", "{"),
            "cni",
            Severity::Error,
            "10-net.conflist: EOF",
        ),
        (
            |n| n.gone("/proc/sys/net/bridge"),
            "br-netfilter",
            Severity::Warning,
            "not loaded",
        ),
        (
            |n| n.file("/proc/sys/net/bridge/bridge-nf-call-iptables", "0"),
            "br-netfilter",
            Severity::Warning,
            "is 0",
        ),
        (
            |n| n.file("/proc/sys/net/ipv4/ip_forward", "0"),
            "forwarding",
            Severity::Error,
            "net.ipv4.ip_forward is not 1",
        ),
        (
            |n| n.flags.push("--pod-cidr=fd00::/64".into()),
            "forwarding",
            Severity::Error,
            "net.ipv6.conf.all.forwarding",
        ),
        (
            |n| n.file("/run/d.sock", "x"),
            "socket",
            Severity::Error,
            "is no socket",
        ),
        (
            |n| {
                n.file(
                    "/etc/systemd/system/multi-user.target.wants/cri-docker.service",
                    "",
                )
            },
            "units",
            Severity::Error,
            "cri-docker.service and dockside are both enabled",
        ),
        (
            |n| n.file("/etc/systemd/system/sockets.target.wants/cri-dockerd.socket", ""),
            "units",
            Severity::Error,
            "cri-dockerd.socket and dockside are both enabled",
        ),
    ];
    for (spoil, check, severity, seen) in cases {
        let mut made = Made::new();
        if *check == "socket" {
            made.flags
                .push("--container-runtime-endpoint=unix:///run/d.sock".into());
        }
        spoil(&mut made);
        let finding = made.fault(check);
        assert_eq!(finding.severity, *severity, "{finding:?}");
        assert!(finding.seen.contains(seen), "{finding:?}");
        assert!(!finding.why.is_empty() && !finding.fix.is_empty(), "{finding:?}");
    }
}

#[test]
fn swap_that_the_kubelet_accepts_is_fine() {
    let made = Made::new();
    made.file("/proc/swaps", "Filename\n/dev/sda2 partition");
    made.file(
        "/var/lib/kubelet/config.yaml",
        "cgroupDriver: \"systemd\" # so\nfailSwapOn: false\n",
    );
    assert!(made.report().worst() <= Severity::Note, "{}", made.report());
}

#[test]
fn the_kubelets_port_is_the_kubelets() {
    let made = Made::new();
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                 0: 0100007F:280A 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 776 1\n   \
                 1: 00000000:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1\n";
    made.file("/proc/net/tcp6", table);
    assert!(
        made.fault("kubelet-port")
            .seen
            .contains("port 10250 is taken by a process that is not seen")
    );
    made.file("/proc/42/comm", "node_exporter\n");
    let open = made.root.path().join("proc/42/fd");
    fs::create_dir_all(&open).unwrap();
    std::os::unix::fs::symlink("socket:[777]", open.join("5")).unwrap();
    assert_eq!(
        made.fault("kubelet-port").seen,
        "port 10250 is taken by node_exporter"
    );
    made.file("/proc/42/comm", "kubelet\n");
    assert!(
        made.report()
            .to_string()
            .contains("the kubelet serves at port 10250")
    );
    made.file(
        "/var/lib/kubelet/config.yaml",
        "cgroupDriver: systemd\nport: 10350\n",
    );
    assert!(
        made.report()
            .to_string()
            .contains("port 10350 is free for the kubelet")
    );
}

#[test]
fn an_engine_that_does_not_answer_is_an_error_and_the_rest_is_still_looked_at() {
    let report = Made::new().report_with(Err("connection refused".into()));
    assert_eq!(report.exit_code(), ExitCode::from(2));
    let errors: Vec<_> = report
        .findings
        .iter()
        .filter(|one| one.severity == Severity::Error)
        .collect();
    assert!(
        errors.len() == 1 && errors[0].seen.contains("connection refused"),
        "{report}"
    );
    assert!(report.findings.iter().any(|one| one.check == "cni"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["worst"], "error");
    assert_eq!(json["findings"][0]["check"], "engine");
}
