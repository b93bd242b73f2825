//! Every refusal of a sandbox, by the field it names.

use super::*;

/// A change of the kubelet's pod, and the field that is then refused.
type Refusal = (fn(&mut cri::PodSandboxConfig), &'static str);

fn context(config: &mut cri::PodSandboxConfig) -> &mut cri::LinuxSandboxSecurityContext {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default()
}

fn options(config: &mut cri::PodSandboxConfig) -> &mut cri::NamespaceOption {
    context(config).namespace_options.get_or_insert_default()
}

fn metadata(config: &mut cri::PodSandboxConfig) -> &mut cri::PodSandboxMetadata {
    config.metadata.get_or_insert_default()
}

fn dns(config: &mut cri::PodSandboxConfig) -> &mut cri::DnsConfig {
    config.dns_config.get_or_insert_default()
}

const REFUSALS: &[Refusal] = &[
    (|c| c.metadata = None, "config.metadata"),
    (|c| metadata(c).name.clear(), "config.metadata.name"),
    (|c| metadata(c).name = "a b".into(), "config.metadata.name"),
    (|c| metadata(c).name = "x".repeat(254), "config.metadata.name"),
    (|c| metadata(c).namespace.clear(), "config.metadata.namespace"),
    (
        |c| metadata(c).namespace = "ä".into(),
        "config.metadata.namespace",
    ),
    (|c| metadata(c).uid = "a/b".into(), "config.metadata.uid"),
    (|c| c.hostname = "x".repeat(65), "config.hostname"),
    (|c| c.hostname = "a b".into(), "config.hostname"),
    (|c| c.log_directory = "logs".into(), "config.log_directory"),
    (
        |c| c.log_directory = "/var/log/../../etc".into(),
        "config.log_directory",
    ),
    (|c| c.log_directory = "/a\0b".into(), "config.log_directory"),
    (
        |c| dns(c).servers.push("1.1.1.1\nsearch x".into()),
        "config.dns_config.servers[1]",
    ),
    (
        |c| dns(c).searches.push(String::new()),
        "config.dns_config.searches[2]",
    ),
    (
        |c| dns(c).options.push("a b".into()),
        "config.dns_config.options[1]",
    ),
    (
        |c| c.port_mappings[2].container_port = 0,
        "config.port_mappings[2].container_port",
    ),
    (
        |c| c.port_mappings[0].host_port = 1 << 16,
        "config.port_mappings[0].host_port",
    ),
    (
        |c| c.port_mappings[0].protocol = 3,
        "config.port_mappings[0].protocol",
    ),
    (
        |c| c.port_mappings[0].host_ip = "::x".into(),
        "config.port_mappings[0].host_ip",
    ),
    (
        |c| c.linux.get_or_insert_default().cgroup_parent = "/a.slice".into(),
        "config.linux.cgroup_parent",
    ),
    (
        |c| c.linux.get_or_insert_default().cgroup_parent = "/../a".into(),
        "config.linux.cgroup_parent",
    ),
    (
        |c| {
            drop(
                c.linux
                    .get_or_insert_default()
                    .sysctls
                    .insert("a/b".into(), "1".into()),
            )
        },
        "config.linux.sysctls[a/b]",
    ),
    (
        |c| options(c).network = cri::NamespaceMode::Node.into(),
        "config.linux.sysctls[net.ipv4.ip_local_port_range]",
    ),
    (
        |c| options(c).network = cri::NamespaceMode::Container.into(),
        "config.linux.security_context.namespace_options.network",
    ),
    (
        |c| options(c).pid = cri::NamespaceMode::Target.into(),
        "config.linux.security_context.namespace_options.pid",
    ),
    (
        |c| options(c).ipc = -1,
        "config.linux.security_context.namespace_options.ipc",
    ),
    (
        |c| options(c).userns_options.get_or_insert_default().mode = 0,
        "config.linux.security_context.namespace_options.userns_options.mode",
    ),
    (
        |c| context(c).run_as_user = Some(cri::Int64Value { value: -1 }),
        "config.linux.security_context.run_as_user",
    ),
    (
        |c| context(c).run_as_user = None,
        "config.linux.security_context.run_as_group",
    ),
    (
        |c| context(c).supplemental_groups.push(i64::MAX),
        "config.linux.security_context.supplemental_groups[2]",
    ),
    (
        |c| context(c).supplemental_groups_policy = 7,
        "config.linux.security_context.supplemental_groups_policy",
    ),
    (
        |c| context(c).seccomp.get_or_insert_default().profile_type = 9,
        "config.linux.security_context.seccomp.profile_type",
    ),
    (
        |c| context(c).seccomp.get_or_insert_default().profile_type = 2,
        "config.linux.security_context.seccomp.localhost_ref",
    ),
    (
        |c| context(c).apparmor = Some(cri::SecurityProfile::default()),
        "config.linux.security_context.apparmor",
    ),
    (
        |c| context(c).selinux_options.get_or_insert_default().level = "s0 c1".into(),
        "config.linux.security_context.selinux_options.level",
    ),
];

#[test]
fn each_refusal_names_its_field() {
    for (change, field) in REFUSALS {
        let mut config = kubelets("/kubepods/burstable/pod6ef2");
        change(&mut config);
        let refused = plan(
            request(&config, NetworkPlugin::Cni),
            &facts(),
            &HostView::default(),
        );
        let error = refused.expect_err(field);
        assert_eq!(error.field, *field, "{error}");
        assert!(!error.why.is_empty());
    }
}
