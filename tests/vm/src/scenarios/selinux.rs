//! SELinux, which wants a node of its own: `DOCKSIDE_VM_SECURITY=selinux tests/vm/run.sh selinux`.

pub(crate) mod volumes;

use std::fs;

use cri::{
    ContainerConfig, DnsConfig, LinuxContainerSecurityContext, Mount, NamespaceMode, NamespaceOption,
    PodSandboxConfig, SeLinuxOption,
};
use support::{SLEEP, container_of};

use crate::{
    logs::counts_beyond,
    node::{Pod, STATE, cri, engine, image, lists, pid, pod_config, read, run, run_container, run_pod, text},
};

/// What the policy has for containers, and for their files.
const CONFINED: &str = "system_u:system_r:container_t:";
const FILES: &str = "system_u:object_r:container_file_t:";

/// The domain of what is not to be held.
const PRIVILEGED: &str = "system_u:system_r:spc_t:s0";

/// Labels as the kernel tells them, with a zero byte at the end.
fn label(process: i64) -> String {
    let label = read(format!("/proc/{process}/attr/current"));
    label.trim_end_matches('\0').to_owned()
}

/// The label of a file.
fn file_label(path: &str) -> String {
    run(&["stat", "--format=%C", path])
}

/// The label that the Engine has drawn for a container's files.
fn files_of(id: &str) -> String {
    text(&engine().inspect(id)["MountLabel"]).to_owned()
}

fn enforcing() {
    let enforced = fs::read_to_string("/sys/fs/selinux/enforce").unwrap_or_default();
    assert_eq!(
        enforced, "1",
        "the node enforces no SELinux: see DOCKSIDE_VM_SECURITY"
    );
}

fn asked(user: &str, role: &str, kind: &str, level: &str) -> Option<SeLinuxOption> {
    let [user, role, r#type, level] = [user, role, kind, level].map(str::to_owned);
    Some(SeLinuxOption {
        user,
        role,
        r#type,
        level,
    })
}

fn context(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default()
}

/// A pod that may have privileged containers.
fn privileged(config: &mut PodSandboxConfig) {
    let context = config.linux.as_mut().unwrap().security_context.as_mut();
    context.unwrap().privileged = true;
}

/// A container of a pod that does nothing.
async fn another(pod: &Pod, name: &str, change: impl FnOnce(&mut ContainerConfig)) -> String {
    let mut config = container_of(&pod.config, name, &image().await, SLEEP);
    change(&mut config);
    cri().run_container(&pod.sandbox, &pod.config, &config).await
}

/// Why a container is not created, of which nothing may be left.
async fn refused(pod: &Pod, name: &str, change: impl FnOnce(&mut ContainerConfig)) -> tonic::Status {
    let mut config = container_of(&pod.config, name, &image().await, SLEEP);
    change(&mut config);
    let before = lists().await.1.len();
    let created = cri().try_create(&pod.sandbox, &pod.config, &config).await;
    let status = created.expect_err(name);
    assert_eq!(lists().await.1.len(), before, "{name}: {status}");
    status
}

/// A directory with a file, as an administrator or a service of the node makes it.
fn folder(name: &str) -> String {
    let path = format!("{STATE}/selinux/{name}");
    fs::create_dir_all(&path).unwrap();
    fs::write(format!("{path}/file"), "mine\n").unwrap();
    path
}

fn mount(host_path: &str, container_path: &str, selinux_relabel: bool) -> Mount {
    Mount {
        host_path: host_path.into(),
        container_path: container_path.into(),
        selinux_relabel,
        ..Default::default()
    }
}

/// What a script says in a container that it may well fail in.
async fn attempt(id: &str, script: &str) -> String {
    cri().sh(id, &format!("{{ {script}; }} 2>&1 || true")).await
}

pub(crate) async fn the_containers_of_a_pod_share_a_label() {
    enforcing();
    let info = engine().ask("GET", "/info", None);
    assert!(
        info["SecurityOptions"].to_string().contains("name=selinux"),
        "{info}"
    );
    let (one, two) = (run_pod("one", |_| {}).await, run_pod("two", |_| {}).await);
    let sibling = another(&one, "sibling", |_| {}).await;
    let [pause, main] = one.processes().map(label);
    assert!(pause.starts_with(&format!("{CONFINED}s0:c")), "{pause}");
    assert_eq!(main, pause);
    assert_eq!(label(pid(&sibling)), pause);
    let stranger = label(two.processes()[1]);
    assert!(stranger.starts_with(CONFINED) && stranger != pause, "{stranger}");

    // What is run in it later, too.
    let inside = cri().sh(&sibling, "tr -d '\\0' </proc/self/attr/current").await;
    assert_eq!(inside, pause);
    // One sees the other's processes no more than it sees the node's.
    let own = attempt(&sibling, "cat /proc/1/attr/current").await;
    assert!(own.starts_with(&pause), "{own}");

    // With files of its own, which the other pod may not touch though it finds them.
    let path = folder("one");
    let owner = another(&one, "owner", |config| {
        config.mounts = vec![mount(&path, "/mine", true)]
    })
    .await;
    assert_eq!(
        cri().sh(&owner, "cat /mine/file && touch /mine/new").await,
        "mine"
    );
    let level = pause.strip_prefix(CONFINED).unwrap();
    assert_eq!(file_label(&format!("{path}/file")), format!("{FILES}{level}"));
    assert_eq!(file_label(&format!("{path}/new")), format!("{FILES}{level}"));
    let thief = another(&two, "thief", |config| {
        config.mounts = vec![mount(&path, "/theirs", false)]
    })
    .await;
    let said = attempt(&thief, "cat /theirs/file; touch /theirs/new2").await;
    assert_eq!(said.matches("Permission denied").count(), 2, "{said}");
    one.remove().await;
    two.remove().await;
}

pub(crate) async fn labels_are_those_that_are_asked_for() {
    enforcing();
    // Of the pod, and so of a container that asks for nothing, and in part of one that asks for a part.
    let level = |config: &mut PodSandboxConfig| {
        let context = config.linux.as_mut().unwrap().security_context.as_mut();
        context.unwrap().selinux_options = asked("", "", "", "s0:c10,c20");
    };
    let pod = run_container("levelled", level, |_| {}).await;
    let expected = format!("{CONFINED}s0:c10,c20");
    assert_eq!(pod.processes().map(label), [&*expected, &*expected]);
    for (name, options, expected) in [
        ("nothing", asked("", "", "", ""), &*expected),
        (
            "level",
            asked("", "", "", "s0:c30"),
            "system_u:system_r:container_t:s0:c30",
        ),
        (
            "whole level",
            asked("", "", "", "s0"),
            "system_u:system_r:container_t:s0",
        ),
        (
            "type",
            asked("", "", "spc_t", ""),
            "system_u:system_r:spc_t:s0:c10,c20",
        ),
        ("older name", asked("", "", "svirt_lxc_net_t", ""), &*expected),
        (
            "all",
            asked("system_u", "system_r", "container_t", "s0:c1.c3"),
            "system_u:system_r:container_t:s0:c1.c3",
        ),
    ] {
        let name = name.replace(' ', "-");
        let id = another(&pod, &name, |config| context(config).selinux_options = options).await;
        assert_eq!(label(pid(&id)), expected, "{name}");
        let files = "touch /own && cat /etc/hosts /etc/resolv.conf >/dev/null && echo well";
        assert_eq!(cri().sh(&id, files).await, "well", "{name}");
    }

    for (name, options) in [
        ("no level", asked("", "", "", "s0,c4,c5")),
        ("unknown type", asked("", "", "no_such_t", "")),
        ("unknown role", asked("", "no_such_r", "", "")),
    ] {
        let name = name.replace(' ', "-");
        let status = refused(&pod, &name, |config| context(config).selinux_options = options).await;
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{name}: {status}");
        assert!(status.message().contains("selinux_options"), "{name}: {status}");
    }
    // These are of its files as well, which the Engine cannot mount; it says no more than that.
    for (name, options) in [
        ("unknown-level", asked("", "", "", "s7")),
        ("unknown-user", asked("no_such_u", "", "", "")),
    ] {
        refused(&pod, name, |config| context(config).selinux_options = options).await;
    }

    // Whoever looks at the processes of another is still one of the pod.
    let target = another(&pod, "target", |config| {
        context(config).selinux_options = asked("", "", "", "s0:c30");
    });
    let target = target.await;
    let looker = another(&pod, "looker", |config| {
        context(config).namespace_options = Some(NamespaceOption {
            pid: NamespaceMode::Target.into(),
            target_id: target.clone(),
            ..Default::default()
        });
    });
    assert_eq!(label(pid(&looker.await)), expected);
    pod.remove().await;

    let mut config = pod_config("unknown");
    let linux = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    linux.selinux_options = asked("", "", "no_such_t", "");
    let before = lists().await.0.len();
    let request = cri::RunPodSandboxRequest {
        config: Some(config),
        ..Default::default()
    };
    let status = cri().runtime().run_pod_sandbox(request).await.unwrap_err();
    assert_eq!(lists().await.0.len(), before, "{status}");
}

pub(crate) async fn what_is_privileged_is_not_held() {
    enforcing();
    let pod = run_container("privileged", privileged, |_| {}).await;
    let [pause, main] = pod.processes().map(label);
    assert!(pause.starts_with(CONFINED), "{pause}");
    assert_eq!(main, pause);
    let (node, volume) = (folder("node"), folder("volume"));
    let before = file_label(&node);
    let options = asked("", "", "container_t", "s0:c10,c20");
    for (name, options) in [("plain", None), ("options", options)] {
        let id = another(&pod, name, |config| {
            context(config).privileged = true;
            context(config).selinux_options = options;
            config.mounts = vec![mount(&node, "/node", false), mount(&volume, "/volume", true)];
        });
        let id = id.await;
        assert_eq!(label(pid(&id)), PRIVILEGED, "{name}");
        let script = "cat /node/file && touch /node/new /volume/new && cat /proc/sys/kernel/ostype";
        assert_eq!(cri().sh(&id, script).await, "mine\nLinux", "{name}");
        assert_eq!(
            cri().sh(&id, "tr -d '\\0' </proc/self/attr/current").await,
            PRIVILEGED
        );
    }
    assert_eq!(file_label(&node), before);
    // The kubelet asks for a volume of a pod once, with whichever container is the first.
    assert_eq!(file_label(&volume), files_of(&pod.container));
    let other = another(&pod, "other", |config| {
        config.mounts = vec![mount(&volume, "/volume", false)]
    });
    assert_eq!(
        cri()
            .sh(&other.await, "touch /volume/new && cat /volume/file")
            .await,
        "mine"
    );
    pod.remove().await;

    // A namespace of the node leaves nothing for labels to keep apart.
    for (name, of_pid, of_ipc) in [
        ("host-pid", NamespaceMode::Node, NamespaceMode::Pod),
        ("host-ipc", NamespaceMode::Container, NamespaceMode::Node),
    ] {
        let options = NamespaceOption {
            pid: of_pid.into(),
            ipc: of_ipc.into(),
            ..Default::default()
        };
        let of_pod = |config: &mut PodSandboxConfig| {
            let context = config.linux.as_mut().unwrap().security_context.as_mut();
            context.unwrap().namespace_options = Some(options.clone());
        };
        let pod = run_container(name, of_pod, |config| {
            context(config).namespace_options = Some(options.clone());
            config.mounts = vec![mount(&folder(name), "/volume", true)];
        });
        let pod = pod.await;
        assert_eq!(pod.processes().map(label), [PRIVILEGED, PRIVILEGED], "{name}");
        assert_eq!(
            cri().sh(&pod.container, "cat /volume/file").await,
            "mine",
            "{name}"
        );
        // Unless labels are asked for.
        let id = another(&pod, "asked", |config| {
            context(config).namespace_options = Some(options.clone());
            context(config).selinux_options = asked("", "", "container_t", "s0:c1,c2");
        });
        assert_eq!(label(pid(&id.await)), format!("{CONFINED}s0:c1,c2"), "{name}");
        pod.remove().await;
    }
}

pub(crate) async fn a_confined_pod_has_all_it_needs() {
    enforcing();
    let dns = |config: &mut PodSandboxConfig| {
        config.dns_config = Some(DnsConfig {
            servers: vec!["10.0.0.10".into()],
            searches: vec!["default.svc".into()],
            ..Default::default()
        });
    };
    let pod = run_container("whole", dns, |_| {}).await;
    let (cri, id) = (cri(), &pod.container);
    assert!(
        cri.sh(id, "cat /etc/resolv.conf")
            .await
            .contains("nameserver 10.0.0.10")
    );
    assert!(cri.sh(id, "cat /etc/hosts").await.contains("localhost"));
    assert_eq!(cri.sh(id, "cat /etc/hostname").await, "whole");
    cri.sh(
        id,
        "echo shared >/dev/shm/file && touch /tmp/file /own && : >/dev/null",
    )
    .await;
    let sibling = another(&pod, "sibling", |_| {}).await;
    assert_eq!(cri.sh(&sibling, "cat /dev/shm/file").await, "shared");
    let address = cri.sandbox_status(&pod.sandbox).await.network.unwrap().ip;
    assert!(
        cri.sh(&sibling, "ip -4 -o addr show dev eth0")
            .await
            .contains(&address)
    );
    counts_beyond(&pod.log, 10).await;
    pod.remove().await;
}
