//! Every refusal of a container, by the field it names.

use super::*;

/// A change of the kubelet's container, and the field that is then refused.
type Refusal = (fn(&mut cri::ContainerConfig), &'static str);

const REFUSALS: &[Refusal] = &[
    (|c| c.metadata = None, "config.metadata"),
    (
        |c| c.metadata.get_or_insert_default().name.clear(),
        "config.metadata.name",
    ),
    (
        |c| c.metadata.get_or_insert_default().name = "a/b".into(),
        "config.metadata.name",
    ),
    (
        |c| c.metadata.get_or_insert_default().name = "x".repeat(254),
        "config.metadata.name",
    ),
    (|c| c.image = None, "config.image"),
    (
        |c| c.image.get_or_insert_default().image.clear(),
        "config.image.image",
    ),
    (|c| c.command[0].clear(), "config.command[0]"),
    (|c| c.command.push("a\0b".into()), "config.command[1]"),
    (|c| c.args[2].push('\0'), "config.args[2]"),
    (|c| c.working_dir = "srv".into(), "config.working_dir"),
    (|c| c.working_dir = "/s\0".into(), "config.working_dir"),
    (|c| c.envs[1].key.clear(), "config.envs[1].key"),
    (|c| c.envs[1].key = "A=B".into(), "config.envs[1].key"),
    (|c| c.envs[2].key = "A\0".into(), "config.envs[2].key"),
    (|c| c.envs[0].value = vec![0xff], "config.envs[0].value"),
    (|c| c.envs[0].value = vec![0], "config.envs[0].value"),
    (
        |c| c.mounts[1].container_path.clear(),
        "config.mounts[1].container_path",
    ),
    (
        |c| c.mounts[1].container_path = "/a/..".into(),
        "config.mounts[1].container_path",
    ),
    (
        |c| c.mounts[1].container_path = "/etc//hosts".into(),
        "config.mounts[2].container_path",
    ),
    (|c| c.mounts[0].host_path.clear(), "config.mounts[0].host_path"),
    (|c| c.mounts[0].propagation = 3, "config.mounts[0].propagation"),
    (
        |c| c.mounts[0].recursive_read_only = true,
        "config.mounts[0].recursive_read_only",
    ),
    (
        |c| c.mounts[0].mount_options.push("noexec".into()),
        "config.mounts[0].mount_options",
    ),
    (
        |c| c.mounts[0].uid_mappings.push(cri::IdMapping::default()),
        "config.mounts[0].uidMappings",
    ),
    (
        |c| c.mounts[0].gid_mappings.push(cri::IdMapping::default()),
        "config.mounts[0].gidMappings",
    ),
    (
        |c| c.devices.push(cri::Device::default()),
        "config.devices[0].host_path",
    ),
    (
        |c| c.cdi_devices.push(cri::CdiDevice::default()),
        "config.CDI_devices[0].name",
    ),
    (|c| c.log_path = "../0.log".into(), "config.log_path"),
    (|c| c.log_path = "/0.log".into(), "config.log_path"),
    (|c| c.stop_signal = 66, "config.stop_signal"),
    (|c| c.stop_signal = -1, "config.stop_signal"),
    (|c| limits(c).cpu_period = 7, "config.linux.resources.cpu_period"),
    (|c| limits(c).cpu_shares = -1, "config.linux.resources.cpu_shares"),
    (
        |c| limits(c).memory_limit_in_bytes = i64::MIN,
        "config.linux.resources.memory_limit_in_bytes",
    ),
    (
        |c| limits(c).memory_swap_limit_in_bytes = 1,
        "config.linux.resources.memory_swap_limit_in_bytes",
    ),
    (
        |c| limits(c).oom_score_adj = 1001,
        "config.linux.resources.oom_score_adj",
    ),
    (
        |c| limits(c).cpuset_cpus = "all".into(),
        "config.linux.resources.cpuset_cpus",
    ),
    (
        |c| limits(c).cpuset_mems = "1-0".into(),
        "config.linux.resources.cpuset_mems",
    ),
    (
        |c| {
            limits(c).hugepage_limits.push(cri::HugepageLimit {
                page_size: "../x".into(),
                limit: 1,
            });
        },
        "config.linux.resources.hugepage_limits[1].page_size",
    ),
    (
        |c| drop(limits(c).unified.insert("../x.y".into(), "1".into())),
        "config.linux.resources.unified[../x.y]",
    ),
    (
        |c| context(c).run_as_username = "a:b".into(),
        "config.linux.security_context.run_as_username",
    ),
    (
        |c| {
            context(c).run_as_user = None;
            context(c).run_as_group = Some(cri::Int64Value { value: 1 });
        },
        "config.linux.security_context.run_as_group",
    ),
    (
        |c| context(c).supplemental_groups_policy = 2,
        "config.linux.security_context.supplemental_groups_policy",
    ),
    (
        |c| context(c).masked_paths.push("proc".into()),
        "config.linux.security_context.masked_paths[2]",
    ),
    (
        |c| context(c).readonly_paths[0].clear(),
        "config.linux.security_context.readonly_paths[0]",
    ),
    (
        |c| {
            context(c)
                .capabilities
                .get_or_insert_default()
                .add_ambient_capabilities
                .push("KILL".into())
        },
        "config.linux.security_context.capabilities.add_ambient_capabilities",
    ),
    (
        |c| context(c).namespace_options.get_or_insert_default().network = cri::NamespaceMode::Node.into(),
        "config.linux.security_context.namespace_options.network",
    ),
    (
        |c| context(c).namespace_options.get_or_insert_default().pid = cri::NamespaceMode::Target.into(),
        "config.linux.security_context.namespace_options.target_id",
    ),
    (
        |c| context(c).apparmor.get_or_insert_default().profile_type = 2,
        "config.linux.security_context.apparmor.localhost_ref",
    ),
];

#[test]
fn each_refusal_names_its_field() {
    for (change, field) in REFUSALS {
        let mut config = kubelets();
        change(&mut config);
        let pod = pod();
        let error = plan(request(&config, &pod), &facts(), &HostView::default()).expect_err(field);
        assert_eq!(error.field, *field, "{error}");
        assert!(!error.why.is_empty());
    }
}
