#![allow(clippy::unwrap_used, clippy::expect_used)]

mod refusals;

use std::collections::BTreeMap;

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use super::*;
use crate::{
    facts::{CgroupDriver, RuntimeFacts},
    security::tests::{facts, with_accounts},
};

const SANDBOX: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// The Engine request, with the record as JSON rather than as text.
fn body(plan: &ContainerPlan) -> Value {
    let mut body = serde_json::to_value(&plan.body).unwrap();
    let record = &mut body["Labels"][labels::RECORD];
    *record = serde_json::from_str(record.as_str().unwrap()).unwrap();
    body
}

fn text_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.into(), value.into()))
        .collect()
}

fn pod() -> SandboxRecord {
    SandboxRecord {
        config: cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: "web-0".into(),
                namespace: "default".into(),
                uid: "6ef2".into(),
                attempt: 1,
            }),
            log_directory: "/var/log/pods/default_web-0_6ef2".into(),
            linux: Some(cri::LinuxPodSandboxConfig {
                cgroup_parent: "/kubepods/burstable/pod6ef2".into(),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..SandboxRecord::default()
    }
}

/// A pod that may hold privileged containers.
fn privileged_pod() -> SandboxRecord {
    let mut pod = pod();
    let linux = pod.config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().privileged = true;
    pod
}

fn request<'a>(config: &'a cri::ContainerConfig, sandbox: &'a SandboxRecord) -> ContainerRequest<'a> {
    ContainerRequest {
        config,
        sandbox_config: Some(&sandbox.config),
        sandbox_id: SANDBOX,
        sandbox,
        image_ref: "nginx@sha256:d1",
        created_at: 1_795_291_262_123_456_789,
        log_size: "64m",
    }
}

fn planned(config: &cri::ContainerConfig, sandbox: &SandboxRecord) -> ContainerPlan {
    plan(request(config, sandbox), &facts(), &HostView::default()).unwrap()
}

fn refused(config: &cri::ContainerConfig, sandbox: &SandboxRecord) -> Invalid {
    plan(request(config, sandbox), &facts(), &HostView::default()).unwrap_err()
}

fn minimal() -> cri::ContainerConfig {
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: "nginx".into(),
            attempt: 0,
        }),
        image: Some(cri::ImageSpec {
            image: "sha256:1d".into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn env(key: &str, value: &[u8]) -> cri::KeyValue {
    cri::KeyValue {
        key: key.into(),
        value: value.into(),
    }
}

fn mount(host_path: &str, container_path: &str) -> cri::Mount {
    cri::Mount {
        host_path: host_path.into(),
        container_path: container_path.into(),
        ..Default::default()
    }
}

/// A container as the kubelet sends it.
fn kubelets() -> cri::ContainerConfig {
    let proc = |names: &[&str]| names.iter().map(|name| format!("/proc/{name}")).collect();
    let context = cri::LinuxContainerSecurityContext {
        capabilities: Some(cri::Capability {
            add_capabilities: vec!["NET_BIND_SERVICE".into()],
            drop_capabilities: vec!["ALL".into()],
            ..Default::default()
        }),
        namespace_options: Some(cri::NamespaceOption {
            pid: cri::NamespaceMode::Container.into(),
            ..Default::default()
        }),
        run_as_user: Some(cri::Int64Value { value: 101 }),
        readonly_rootfs: true,
        supplemental_groups: vec![3000],
        no_new_privs: true,
        masked_paths: proc(&["acpi", "kcore"]),
        readonly_paths: proc(&["sys", "irq"]),
        seccomp: Some(cri::SecurityProfile::default()),
        ..Default::default()
    };
    let resources = cri::LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 102,
        memory_limit_in_bytes: 1 << 27,
        memory_swap_limit_in_bytes: 1 << 27,
        oom_score_adj: 985,
        hugepage_limits: vec![cri::HugepageLimit {
            page_size: "2MB".into(),
            limit: 0,
        }],
        unified: text_map(&[("memory.oom.group", "1")]),
        ..Default::default()
    };
    cri::ContainerConfig {
        image: Some(cri::ImageSpec {
            image: "sha256:1d".into(),
            user_specified_image: "nginx:1.29".into(),
            ..Default::default()
        }),
        command: vec!["/docker-entrypoint.sh".into()],
        args: vec!["nginx".into(), "-g".into(), "daemon off;".into()],
        working_dir: "/srv".into(),
        envs: vec![env("PORT", b"80"), env("OPTIONS", b"a=b=c"), env("EMPTY", b"")],
        mounts: vec![
            cri::Mount {
                readonly: true,
                ..mount("/var/lib/kubelet/pods/6ef2/volumes/token", "/var/run/secrets")
            },
            cri::Mount {
                propagation: cri::MountPropagation::PropagationHostToContainer.into(),
                ..mount("/srv/data", "/data")
            },
            mount("/var/lib/kubelet/pods/6ef2/etc-hosts", "/etc/hosts"),
        ],
        labels: text_map(&[("io.kubernetes.container.name", "nginx")]),
        annotations: text_map(&[("io.kubernetes.container.hash", "1a2b")]),
        log_path: "nginx/0.log".into(),
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources),
            security_context: Some(context),
        }),
        stop_signal: cri::Signal::Sigquit.into(),
        ..minimal()
    }
}

fn context(config: &mut cri::ContainerConfig) -> &mut cri::LinuxContainerSecurityContext {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default()
}

fn limits(config: &mut cri::ContainerConfig) -> &mut cri::LinuxContainerResources {
    config
        .linux
        .get_or_insert_default()
        .resources
        .get_or_insert_default()
}

#[test]
fn a_container_of_a_name_and_an_image_only() {
    let plan = planned(&minimal(), &pod());
    assert_eq!(plan.name, "k8s_nginx_web-0_default_6ef2_0");
    assert_eq!(plan.caveats, [""; 0]);
    assert_json_snapshot!(body(&plan));
}

#[test]
fn the_kubelets_container() {
    let plan = planned(&kubelets(), &pod());
    assert_eq!(
        plan.record.log_path,
        "/var/log/pods/default_web-0_6ef2/nginx/0.log"
    );
    assert_eq!(plan.caveats, [""; 0]);
    assert_json_snapshot!(body(&plan));
    let after = after_start(&plan.record, &facts(), &HostView::default()).unwrap();
    let files: Vec<_> = after
        .writes
        .iter()
        .map(|w| (w.file.as_str(), w.value.as_str()))
        .collect();
    assert_eq!(files, [("memory.oom.group", "1")]);
    assert_eq!(after.oom_score_adj, None, "the engine sets it at creation");
}

/// Another dockside, or one that was started again, knows the container by its record only.
#[test]
fn a_limit_that_was_changed_before_the_start_is_not_undone_by_a_restart() {
    let mut config = minimal();
    let resources = config
        .linux
        .get_or_insert_default()
        .resources
        .get_or_insert_default();
    resources.memory_limit_in_bytes = 5 << 20;
    resources.unified.insert("memory.high".into(), "4194304".into());
    let facts = EngineFacts {
        cgroup_version: 2,
        ..facts()
    };
    let plan = plan(request(&config, &pod()), &facts, &HostView::default()).unwrap();
    let created = plan.body.host_config.unwrap().memory.unwrap();
    let left = |memory| {
        let current = answer::HostConfig {
            memory,
            ..Default::default()
        };
        let left = left_after_start(&plan.record, &current, &facts, &HostView::default()).unwrap();
        let files = left.writes.into_iter().map(|write| write.file);
        files.collect::<Vec<_>>()
    };
    assert_eq!(left(created), ["memory.max", "memory.high"]);
    assert_eq!(left(32 << 20), ["memory.high"]);
    assert_eq!(left(i64::MAX), ["memory.high"]);
}

#[test]
fn the_kubelets_container_under_systemd() {
    let facts = EngineFacts {
        cgroup_driver: CgroupDriver::Systemd,
        ..facts()
    };
    let mut pod = pod();
    pod.config.linux.get_or_insert_default().cgroup_parent = "/kubepods.slice/kubepods-pod6ef2.slice".into();
    let config = kubelets();
    let plan = plan(request(&config, &pod), &facts, &HostView::default()).unwrap();
    let host_config = plan.body.host_config.unwrap();
    assert_eq!(
        host_config.cgroup_parent.as_deref(),
        Some("kubepods-pod6ef2.slice")
    );
    let annotations = host_config.annotations.unwrap();
    assert_eq!(annotations.len(), 1, "none of the request's own: {annotations:?}");
    assert_eq!(annotations["org.systemd.property.MemorySwapMax"], "uint64 0");
}

#[test]
fn a_privileged_container() {
    let mut config = minimal();
    let context = context(&mut config);
    context.privileged = true;
    context.masked_paths = vec!["/proc/kcore".into()];
    context.seccomp = Some(cri::SecurityProfile::default());
    assert_json_snapshot!(body(&planned(&config, &privileged_pod())));
    let error = refused(&config, &pod());
    assert_eq!(error.field, "config.linux.security_context.privileged");
    // An ephemeral container, which the pod did not have when its sandbox was made.
    let (sandbox, now) = (pod(), privileged_pod());
    let later = ContainerRequest {
        sandbox_config: Some(&now.config),
        ..request(&config, &sandbox)
    };
    let plan = plan(later, &facts(), &HostView::default()).unwrap();
    assert_eq!(plan.body.host_config.unwrap().privileged, Some(true));
}

#[test]
fn a_terminal_and_its_input() {
    let config = cri::ContainerConfig {
        stdin: true,
        stdin_once: true,
        tty: true,
        command: vec!["sh".into()],
        ..minimal()
    };
    let body = body(&planned(&config, &pod()));
    assert_json_snapshot!(json!({
        "Tty": body["Tty"],
        "OpenStdin": body["OpenStdin"],
        "StdinOnce": body["StdinOnce"],
        "AttachStdin": body["AttachStdin"],
        "Entrypoint": body["Entrypoint"],
        "Cmd": body["Cmd"],
    }));
}

#[test]
fn devices_of_both_kinds() {
    let config = cri::ContainerConfig {
        devices: vec![cri::Device {
            container_path: "/dev/fuse".into(),
            host_path: "/dev/my-fuse".into(),
            permissions: "rw".into(),
        }],
        cdi_devices: vec![cri::CdiDevice {
            name: "vendor.com/gpu=0".into(),
        }],
        ..minimal()
    };
    let host = HostView {
        device_links: text_map(&[("/dev/my-fuse", "/dev/fuse")]),
        ..HostView::default()
    };
    let pod = pod();
    let plan = plan(request(&config, &pod), &facts(), &host).unwrap();
    assert_json_snapshot!(body(&plan)["HostConfig"]);
}

#[test]
fn namespaces_of_others() {
    let mut pod = pod();
    let options = cri::NamespaceOption {
        network: cri::NamespaceMode::Node.into(),
        pid: cri::NamespaceMode::Container.into(),
        ipc: cri::NamespaceMode::Node.into(),
        ..Default::default()
    };
    let linux = pod.config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().namespace_options = Some(options.clone());
    let mut config = minimal();
    context(&mut config).namespace_options = Some(cri::NamespaceOption {
        pid: cri::NamespaceMode::Target.into(),
        target_id: "c0ffee".into(),
        ..options
    });
    assert_json_snapshot!(body(&planned(&config, &pod))["HostConfig"]);
}

#[test]
fn a_container_runs_under_its_sandboxs_runtime() {
    let rro = RuntimeFacts {
        features: Some(json!({"mountOptions": ["rro"]})),
    };
    let mut facts = facts();
    facts.runtimes = BTreeMap::from([("kata".into(), rro.clone()), ("runc".into(), rro)]);
    let config = cri::ContainerConfig {
        mounts: vec![cri::Mount {
            readonly: true,
            recursive_read_only: true,
            ..mount("/srv", "/srv")
        }],
        ..minimal()
    };
    for (handler, expected) in [("", None), ("docker", None), ("kata", Some("kata"))] {
        let pod = SandboxRecord {
            runtime_handler: handler.into(),
            ..pod()
        };
        let plan = plan(request(&config, &pod), &facts, &HostView::default()).unwrap();
        let host_config = plan.body.host_config.unwrap();
        assert_eq!(host_config.runtime.as_deref(), expected, "{handler:?}");
        let bind = host_config.mounts.unwrap().remove(0).bind_options.unwrap();
        assert_eq!(bind.read_only_force_recursive, Some(true), "{handler:?}");
    }
    let pod = SandboxRecord {
        runtime_handler: "gone".into(),
        ..pod()
    };
    let error = refused(&minimal(), &pod);
    assert_eq!(error.field, "pod_sandbox_id");
    assert!(error.why.contains("\"gone\""), "{error}");
}

#[test]
fn the_level_of_the_sandbox_fills_the_gap() {
    let facts = EngineFacts {
        selinux: true,
        ..facts()
    };
    let host = HostView {
        sandbox_label: "system_u:system_r:container_t:s0:c1,c2".into(),
        ..HostView::default()
    };
    let mut config = minimal();
    context(&mut config)
        .selinux_options
        .get_or_insert_default()
        .r#type = "spc_t".into();
    let pod = pod();
    let plan = plan(request(&config, &pod), &facts, &host).unwrap();
    let options = plan.body.host_config.unwrap().security_opt.unwrap();
    assert!(options.contains(&"label=type:spc_t".to_owned()), "{options:?}");
    assert!(
        options.contains(&"label=level:s0:c1,c2".to_owned()),
        "{options:?}"
    );
}

#[test]
fn command_and_arguments_replace_what_they_name() {
    let of = |command: &[&str], args: &[&str]| {
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let config = cri::ContainerConfig {
            command: own(command),
            args: own(args),
            ..minimal()
        };
        let body = planned(&config, &pod()).body;
        (body.entrypoint, body.cmd)
    };
    let words = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(of(&[], &[]), (None, None));
    assert_eq!(of(&["a", ""], &[]), (words(&["a", ""]), None));
    assert_eq!(of(&[], &["", "b"]), (None, words(&["", "b"])));
    assert_eq!(of(&["a"], &["b"]), (words(&["a"]), words(&["b"])));
}

#[test]
fn of_variables_with_one_name_the_last_counts() {
    let config = cri::ContainerConfig {
        envs: vec![env("A", b"1"), env("B", b"2"), env("A", b"3"), env("a", b"4")],
        ..minimal()
    };
    assert_eq!(planned(&config, &pod()).body.env.unwrap(), ["B=2", "A=3", "a=4"]);
}

#[test]
fn without_a_log_path_or_a_directory_no_log_is_kept() {
    let wanted = cri::ContainerConfig {
        log_path: "nginx/0.log".into(),
        ..minimal()
    };
    let mut nowhere = pod();
    nowhere.config.log_directory.clear();
    for (config, pod, kind, said) in [
        (&minimal(), &pod(), "none", 0),
        (&wanted, &pod(), "json-file", 0),
        (&wanted, &nowhere, "none", 1),
    ] {
        let plan = planned(config, pod);
        let log = plan.body.host_config.unwrap().log_config.unwrap();
        assert_eq!(log.typ.as_deref(), Some(kind));
        assert_eq!(plan.caveats.len(), said, "{:?}", plan.caveats);
    }
}

#[test]
fn a_request_may_leave_the_sandboxs_configuration_out() {
    let config = kubelets();
    let pod = pod();
    let repeated = planned(&config, &pod);
    let bare = cri::PodSandboxConfig::default();
    for sandbox_config in [None, Some(&bare)] {
        let request = ContainerRequest {
            sandbox_config,
            ..request(&config, &pod)
        };
        let plan = plan(request, &facts(), &HostView::default()).unwrap();
        assert_eq!(body(&plan), body(&repeated));
    }
}

#[test]
fn a_sandbox_of_another_program_is_known_from_the_request() {
    let config = kubelets();
    let asked = pod();
    let adopted = SandboxRecord {
        config: cri::PodSandboxConfig {
            metadata: asked.config.metadata.clone(),
            ..Default::default()
        },
        ..SandboxRecord::default()
    };
    let repeated = ContainerRequest {
        sandbox_config: Some(&asked.config),
        ..request(&config, &adopted)
    };
    let plan_of_both = plan(repeated, &facts(), &HostView::default()).unwrap();
    assert_eq!(body(&plan_of_both), body(&planned(&config, &asked)));
    for (change, field) in [
        (
            (|c| c.log_directory = "logs".into()) as fn(&mut cri::PodSandboxConfig),
            "sandbox_config.log_directory",
        ),
        (
            |c| c.linux.get_or_insert_default().cgroup_parent = "/a.slice".into(),
            "sandbox_config.linux.cgroup_parent",
        ),
    ] {
        let mut odd = asked.config.clone();
        change(&mut odd);
        let request = ContainerRequest {
            sandbox_config: Some(&odd),
            ..request(&config, &adopted)
        };
        let error = plan(request, &facts(), &HostView::default()).unwrap_err();
        assert_eq!(error.field, field);
    }
    let nameless = SandboxRecord::default();
    assert_eq!(refused(&config, &nameless).field, "sandbox_config.metadata");
}

#[test]
fn the_record_leaves_out_what_the_engine_has() {
    let config = kubelets();
    let plan = planned(&config, &pod());
    let labels = plan.body.labels.unwrap().into_iter().collect();
    let (sandbox, record) = labels::read_container(&plan.name, &labels).unwrap();
    assert_eq!((sandbox.as_str(), &record), (SANDBOX, &plan.record));
    let expected = cri::ContainerConfig {
        command: vec![],
        args: vec![],
        envs: vec![],
        ..config
    };
    assert_eq!(record.config, expected);
    assert_eq!(record.image_ref, "nginx@sha256:d1");
}

#[test]
fn what_is_not_had_is_said() {
    let mut config = cri::ContainerConfig {
        windows: Some(cri::WindowsContainerConfig::default()),
        ..minimal()
    };
    let asked = context(&mut config);
    asked.run_as_user = Some(cri::Int64Value { value: 7 });
    asked.run_as_username = "nobody".into();
    let sandbox = pod();
    let plan = plan(request(&config, &sandbox), &facts(), &with_accounts()).unwrap();
    assert_eq!(plan.body.user.as_deref(), Some("nobody"));
    let beginnings = ["run_as_user 7", "windows"];
    assert_eq!(plan.caveats.len(), beginnings.len(), "{:?}", plan.caveats);
    for (caveat, beginning) in plan.caveats.iter().zip(beginnings) {
        assert!(caveat.starts_with(beginning), "{caveat}");
    }
}

#[test]
fn an_image_volume_is_refused_in_the_kubelets_words() {
    let mut config = kubelets();
    config.mounts[0].host_path.clear();
    config.mounts[0].image = Some(cri::ImageSpec {
        image: "sha256:1d".into(),
        ..Default::default()
    });
    let error = refused(&config, &pod());
    assert_eq!(error.field, "config.mounts[0].image");
    assert!(
        error.why.starts_with(mounts::IMAGE_VOLUME_MOUNT_FAILED),
        "{error}"
    );
}
