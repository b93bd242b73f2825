#![allow(clippy::unwrap_used, clippy::expect_used)]

mod refusals;

use std::collections::BTreeMap;

use insta::assert_json_snapshot;
use serde_json::Value;

use super::*;
use crate::{
    facts::{CgroupDriver, RuntimeFacts},
    security::tests::facts,
};

/// The Engine request, with the record as JSON rather than as text.
fn body(plan: &SandboxPlan) -> Value {
    let mut body = serde_json::to_value(&plan.body).unwrap();
    let record = &mut body["Labels"][labels::RECORD];
    *record = serde_json::from_str(record.as_str().unwrap()).unwrap();
    body
}

fn request<'a>(config: &'a cri::PodSandboxConfig, network: NetworkPlugin<'a>) -> SandboxRequest<'a> {
    SandboxRequest {
        config,
        runtime_handler: "",
        image: "registry.k8s.io/pause:3.10",
        network,
        created_at: 1_795_291_262_123_456_789,
    }
}

fn planned(config: &cri::PodSandboxConfig, facts: &EngineFacts) -> SandboxPlan {
    plan(request(config, NetworkPlugin::Cni), facts, &HostView::default()).unwrap()
}

fn systemd() -> EngineFacts {
    EngineFacts {
        cgroup_driver: CgroupDriver::Systemd,
        ..facts()
    }
}

fn minimal() -> cri::PodSandboxConfig {
    cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: "web-0".into(),
            namespace: "default".into(),
            uid: "6ef2".into(),
            attempt: 1,
        }),
        ..Default::default()
    }
}

fn text_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.into(), value.into()))
        .collect()
}

/// A pod as the kubelet sends it.
fn kubelets(cgroup_parent: &str) -> cri::PodSandboxConfig {
    let context = cri::LinuxSandboxSecurityContext {
        namespace_options: Some(cri::NamespaceOption {
            pid: cri::NamespaceMode::Container.into(),
            userns_options: Some(cri::UserNamespace {
                mode: cri::NamespaceMode::Node.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        run_as_user: Some(cri::Int64Value { value: 1000 }),
        run_as_group: Some(cri::Int64Value { value: 2000 }),
        supplemental_groups: vec![3000, 4000],
        seccomp: Some(cri::SecurityProfile::default()),
        ..Default::default()
    };
    cri::PodSandboxConfig {
        hostname: "web-0".into(),
        log_directory: "/var/log/pods/default_web-0_6ef2".into(),
        dns_config: Some(cri::DnsConfig {
            servers: vec!["10.96.0.10".into()],
            searches: vec!["default.svc.cluster.local".into(), "cluster.local".into()],
            options: vec!["ndots:5".into()],
        }),
        port_mappings: vec![
            port(80, 8080, ""),
            port(443, 0, ""),
            cri::PortMapping {
                protocol: cri::Protocol::Udp.into(),
                ..port(53, 5353, "127.0.0.1")
            },
        ],
        labels: text_map(&[("app", "web"), ("io.kubernetes.pod.name", "web-0")]),
        annotations: text_map(&[("kubernetes.io/config.seen", "2026-11-21T20:00:00Z")]),
        linux: Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: cgroup_parent.into(),
            security_context: Some(context),
            sysctls: text_map(&[
                ("kernel.shm_rmid_forced", "1"),
                ("net.ipv4.ip_local_port_range", "1024 65535"),
            ]),
            overhead: Some(cri::LinuxContainerResources::default()),
            resources: Some(cri::LinuxContainerResources {
                cpu_shares: 102,
                memory_limit_in_bytes: 1 << 27,
                ..Default::default()
            }),
        }),
        ..minimal()
    }
}

fn port(container_port: i32, host_port: i32, host_ip: &str) -> cri::PortMapping {
    cri::PortMapping {
        container_port,
        host_port,
        host_ip: host_ip.into(),
        ..Default::default()
    }
}

fn with_options(mut config: cri::PodSandboxConfig, options: cri::NamespaceOption) -> cri::PodSandboxConfig {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().namespace_options = Some(options);
    config
}

/// The kubelet's pod on the node's network.
fn on_the_node() -> cri::PodSandboxConfig {
    let mut config = kubelets("/kubepods/besteffort/pod6ef2");
    config.linux.as_mut().unwrap().sysctls.clear();
    config.hostname.clear();
    config.port_mappings = vec![port(9100, 9100, "")];
    let options = cri::NamespaceOption {
        network: cri::NamespaceMode::Node.into(),
        pid: cri::NamespaceMode::Node.into(),
        ipc: cri::NamespaceMode::Node.into(),
        ..Default::default()
    };
    with_options(config, options)
}

#[test]
fn a_pod_of_metadata_only() {
    let plan = planned(&minimal(), &facts());
    assert_eq!(plan.name, "k8s_POD_web-0_default_6ef2_1");
    assert_eq!(
        (plan.resolv_conf.as_deref(), plan.log_directory.as_str()),
        (None, "")
    );
    assert!(!plan.host_network);
    assert_eq!(plan.caveats, [""; 0]);
    assert_json_snapshot!(body(&plan));
}

#[test]
fn the_kubelets_pod_under_systemd() {
    let parent = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6ef2.slice";
    let plan = planned(&kubelets(parent), &systemd());
    assert_eq!(
        plan.resolv_conf.as_deref(),
        Some("search default.svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n")
    );
    assert_eq!(plan.log_directory, "/var/log/pods/default_web-0_6ef2");
    assert_eq!(plan.caveats, [""; 0]);
    assert_json_snapshot!(body(&plan));
}

#[test]
fn the_kubelets_pod_under_cgroupfs() {
    let plan = planned(&kubelets("/kubepods/burstable/pod6ef2"), &facts());
    assert_eq!(plan.caveats, [""; 0]);
    assert_json_snapshot!(body(&plan)["HostConfig"]);
}

#[test]
fn a_pod_on_the_nodes_network() {
    let plan = planned(&on_the_node(), &facts());
    assert!(plan.host_network);
    assert_eq!(plan.caveats, [""; 0]);
    assert_json_snapshot!(body(&plan));
}

#[test]
fn a_pod_on_the_engines_own_network_publishes_its_ports() {
    let config = kubelets("/kubepods/burstable/pod6ef2");
    let request = request(&config, NetworkPlugin::Named("dockside"));
    let plan = plan(request, &facts(), &HostView::default()).unwrap();
    assert_json_snapshot!(body(&plan));
}

#[test]
fn the_record_is_what_was_asked_for() {
    let config = on_the_node();
    let plan = planned(&config, &facts());
    assert_eq!(plan.record.config, config);
    let labels = plan.body.labels.unwrap().into_iter().collect();
    assert_eq!(labels::read_sandbox(&plan.name, &labels), Some(plan.record));
}

#[test]
fn a_runtime_handler_is_a_runtime_of_the_engine() {
    let mut facts = facts();
    facts.runtimes.insert("kata".into(), RuntimeFacts::default());
    let config = minimal();
    for (handler, expected) in [("", None), ("docker", None), ("kata", Some("kata"))] {
        let request = SandboxRequest {
            runtime_handler: handler,
            ..request(&config, NetworkPlugin::Cni)
        };
        let plan = plan(request, &facts, &HostView::default()).unwrap();
        assert_eq!(plan.body.host_config.unwrap().runtime.as_deref(), expected);
        assert_eq!(plan.record.runtime_handler, handler);
    }
    let request = SandboxRequest {
        runtime_handler: "gvisor",
        ..request(&config, NetworkPlugin::Cni)
    };
    let error = plan(request, &facts, &HostView::default()).unwrap_err();
    assert_eq!(error.field, "runtime_handler");
    assert!(
        error.why.contains("\"gvisor\"") && error.why.contains("kata"),
        "{error}"
    );
}

#[test]
fn what_is_not_had_is_said() {
    let odd = cri::PodSandboxConfig {
        hostname: "mine".into(),
        port_mappings: vec![port(80, 8080, ""), port(9100, 9100, "")],
        windows: Some(cri::WindowsPodSandboxConfig::default()),
        ..on_the_node()
    };
    let rootless = EngineFacts {
        cgroup_driver: CgroupDriver::None,
        ..facts()
    };
    let plan = planned(&odd, &rootless);
    let host_config = plan.body.host_config.unwrap();
    assert_eq!((plan.body.hostname, host_config.cgroup_parent), (None, None));
    let beginnings = [
        "cgroup parent \"/kubepods",
        "port 80/tcp",
        "hostname \"mine\"",
        "windows",
    ];
    assert_eq!(plan.caveats.len(), beginnings.len(), "{:?}", plan.caveats);
    for (caveat, beginning) in plan.caveats.iter().zip(beginnings) {
        assert!(caveat.starts_with(beginning), "{caveat}");
    }
}

#[test]
fn a_host_that_forbids_low_scores_gets_its_lowest() {
    let host = HostView {
        oom_score_adj_floor: Some(-500),
        ..HostView::default()
    };
    let config = minimal();
    let plan = plan(request(&config, NetworkPlugin::Cni), &facts(), &host).unwrap();
    assert_eq!(plan.body.host_config.unwrap().oom_score_adj, Some(-500));
}

#[test]
fn the_pause_process_never_is_privileged() {
    let mut config = minimal();
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().privileged = true;
    let host_config = planned(&config, &facts()).body.host_config.unwrap();
    assert_eq!(host_config.privileged, None);
    assert_eq!(host_config.cap_add, None);
}
