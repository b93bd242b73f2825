//! What may not be seen or done, where only an Engine can show it.

use cri::{
    Capability, IdMapping, LinuxContainerSecurityContext, Mount, NamespaceMode, RunPodSandboxRequest,
    SecurityProfile, UserNamespace, security_profile::ProfileType,
};
use support::Engine;
use tonic::Code;

use super::{Node, SLEEP, context};

/// What is mounted below `/proc` in a container, as the kernel tells it.
async fn covered(node: &Node, id: &str) -> Vec<String> {
    let script = "while read -r _ at _; do case $at in /proc/*) echo $at;; esac; done </proc/1/mounts";
    let text = node.daemon.sh(id, script).await;
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_masked_and_read_only_as_given_and_not_at_all_if_none_are() {
    let node = Node::new().await;
    let mut config = node.config("given", &node.image);
    context(&mut config).masked_paths = vec!["/proc/uptime".into(), "/etc/passwd".into()];
    context(&mut config).readonly_paths = vec!["/proc/irq".into(), "/bin".into()];
    let given = node.run(&config).await;
    let mut has = covered(&node, &given).await;
    has.sort();
    assert_eq!(has, ["/proc/irq", "/proc/uptime"]);
    // The words are the kernel's: nothing is there to be read.
    let script = "cat /etc/passwd /proc/uptime | wc -c; touch /bin/new 2>&1 || true";
    let out = node.daemon.sh(&given, script).await;
    assert!(out.starts_with("0\n") && out.contains("Read-only"), "{out}");

    let none = node.run(&node.config("none", &node.image)).await;
    assert_eq!(covered(&node, &none).await, [""; 0], "an empty list is none");

    // Who says nothing about security at all gets what the Engine masks.
    let mut config = node.config("silent", &node.image);
    config.linux.as_mut().unwrap().security_context = None;
    let silent = node.run(&config).await;
    let has = covered(&node, &silent).await;
    // Kernels differ in what else there is to cover.
    assert!(has.len() > 1 && has.contains(&"/proc/sys".to_owned()), "{has:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seccomp_profile_is_handed_on_untouched_and_a_broken_one_fails_at_creation() {
    let node = Node::new().await;
    let path = node.daemon.dir().join("profile.json");
    let profile = SecurityProfile {
        profile_type: ProfileType::Localhost.into(),
        localhost_ref: path.display().to_string(),
    };
    let mut config = node.config("profile", &node.image);
    context(&mut config).seccomp = Some(profile);
    for broken in [
        "",
        "no JSON",
        "[]",
        // The Engine would take it, and confine nothing.
        "{}",
        r#"{"defaultAction": "SCMP_ACT_PERHAPS"}"#,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": 7}]}"#,
    ] {
        std::fs::write(&path, broken).unwrap();
        let error = node.refused(&config).await;
        assert_eq!(error.code(), Code::InvalidArgument, "{broken}: {error}");
        assert!(
            error.message().contains("seccomp.localhost_ref") && error.message().contains("profile.json"),
            "{broken}: {error}"
        );
    }
    // With what only the Engine's own dialect has, and blanks of all kinds.
    let text = "{\t\"defaultAction\" : \"SCMP_ACT_ALLOW\",\r\n \"archMap\":[{\"architecture\":\"SCMP_ARCH_X86_64\",\
                \"subArchitectures\":[\"SCMP_ARCH_X86\"]}],  \"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\
                \"action\":\"SCMP_ACT_ERRNO\",\"comment\":\"\\u00e4 \\/\",\"includes\":{\"caps\":[\"CAP_CHOWN\"]}}] }\n";
    std::fs::write(&path, text).unwrap();
    let id = node.run(&config).await;
    let options = Engine::get().inspect(&id)["HostConfig"]["SecurityOpt"].clone();
    let options: Vec<&str> = options
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|o| o.as_str())
        .collect();
    assert!(options.contains(&&*format!("seccomp={text}")), "{options:?}");
    let made = node.daemon.exec(&id, &["mkdir", "/new"], 0).await.unwrap();
    assert_eq!(made.exit_code, 1);
}

type Change = fn(&mut LinuxContainerSecurityContext);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_cannot_give_its_containers_is_refused_at_creation() {
    let node = Node::new().await;
    let cases: [(&str, Change, &str); 4] = [
        (
            "privileged",
            |c| c.privileged = true,
            "security_context.privileged",
        ),
        (
            "ambient",
            |c| {
                c.capabilities = Some(Capability {
                    add_ambient_capabilities: vec!["NET_BIND_SERVICE".into()],
                    ..Default::default()
                });
            },
            "capabilities.add_ambient_capabilities",
        ),
        (
            "user-namespace",
            |c| {
                c.namespace_options.as_mut().unwrap().userns_options =
                    Some(user_namespace(NamespaceMode::Pod))
            },
            "namespace_options.userns_options",
        ),
        (
            "node-network",
            |c| c.namespace_options.as_mut().unwrap().network = NamespaceMode::Node.into(),
            "namespace_options.network",
        ),
    ];
    for (name, change, field) in cases {
        let mut config = node.config(name, &node.image);
        change(context(&mut config));
        let error = node.refused(&config).await;
        assert_eq!(error.code(), Code::InvalidArgument, "{name}: {error}");
        assert!(error.message().contains(field), "{name}: {error}");
    }
    type MountChange = fn(&mut Mount);
    let mounts: [(MountChange, &str); 2] = [
        (
            |mount| mount.uid_mappings = vec![mapping(0)],
            "config.mounts[0].uidMappings",
        ),
        (
            |mount| mount.mount_options = vec!["noexec".into()],
            "config.mounts[0].mount_options",
        ),
    ];
    for (change, field) in mounts {
        let mut mount = Mount {
            host_path: "/tmp".into(),
            container_path: "/mnt".into(),
            ..Default::default()
        };
        change(&mut mount);
        let mut config = node.config("mount", &node.image);
        config.mounts = vec![mount];
        let error = node.refused(&config).await;
        assert_eq!(error.code(), Code::InvalidArgument, "{field}: {error}");
        assert!(error.message().contains(field), "{error}");
    }
}

fn mapping(container_id: u32) -> IdMapping {
    IdMapping {
        host_id: 100_000,
        container_id,
        length: 65_536,
    }
}

fn user_namespace(mode: NamespaceMode) -> UserNamespace {
    let mappings = match mode {
        NamespaceMode::Pod => vec![mapping(0)],
        _ => Vec::new(),
    };
    UserNamespace {
        mode: mode.into(),
        uids: mappings.clone(),
        gids: mappings,
    }
}

/// What critest asks of runtimes that have user namespaces; of one that has none it asks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn pods_are_in_the_nodes_user_namespace_and_all_others_are_refused() {
    let node = Node::new().await;
    let run = async |name: &str, asked: UserNamespace| {
        let mut pod = node.daemon.pod(name);
        let context = pod.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        context.namespace_options.as_mut().unwrap().userns_options = Some(asked);
        let request = RunPodSandboxRequest {
            config: Some(pod.clone()),
            ..Default::default()
        };
        let answer = node.daemon.runtime().run_pod_sandbox(request).await;
        (pod, answer.map(|answer| answer.into_inner().pod_sandbox_id))
    };
    // As every kubelet says it.
    let (pod, sandbox) = run("of-the-node", user_namespace(NamespaceMode::Node)).await;
    let sandbox = sandbox.unwrap();
    let status = node.daemon.sandbox_status(&sandbox).await;
    let options = status.linux.unwrap().namespaces.unwrap().options.unwrap();
    assert_eq!(options.userns_options, Some(user_namespace(NamespaceMode::Node)));
    let mut config = super::container_of(&pod, "of-the-node", &node.image, SLEEP);
    let asked = pod.linux.unwrap().security_context.unwrap().namespace_options;
    context(&mut config).namespace_options = asked;
    let id = node.daemon.run_container(&sandbox, &node.pod, &config).await;
    let pid = Engine::get().inspect(&id)["State"]["Pid"].to_string();
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/user")).unwrap();
    assert_eq!(namespace(&pid), namespace("self"));

    let two = UserNamespace {
        uids: vec![mapping(0), mapping(70_000)],
        ..user_namespace(NamespaceMode::Pod)
    };
    let without_root = UserNamespace {
        uids: vec![mapping(1)],
        gids: vec![mapping(1)],
        ..user_namespace(NamespaceMode::Pod)
    };
    for (name, asked) in [
        ("pod", user_namespace(NamespaceMode::Pod)),
        ("two-mappings", two),
        ("without-root", without_root),
        ("container", user_namespace(NamespaceMode::Container)),
        ("target", user_namespace(NamespaceMode::Target)),
    ] {
        let (_, answer) = run(name, asked).await;
        let error = answer.expect_err(name);
        assert_eq!(error.code(), Code::InvalidArgument, "{name}: {error}");
        assert!(error.message().contains("userns_options"), "{name}: {error}");
    }
}
