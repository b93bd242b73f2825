//! What processes of a container may do.

use std::fs;

use cri::{
    Capability, LinuxContainerSecurityContext, SecurityProfile, StartContainerRequest,
    security_profile::ProfileType,
};
use support::Engine;
use tonic::Code;

use super::{Node, context};

const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const CHOWN: u64 = 1;

/// A value of /proc/1/status.
async fn status(node: &Node, id: &str, key: &str) -> String {
    let script = format!("sed -n 's/^{key}:[[:space:]]*//p' /proc/1/status");
    node.daemon.sh(id, &script).await
}

async fn capabilities(node: &Node, id: &str) -> u64 {
    u64::from_str_radix(&status(node, id, "CapEff").await, 16).unwrap()
}

async fn run(node: &Node, name: &str, change: impl FnOnce(&mut LinuxContainerSecurityContext)) -> String {
    let mut config = node.config(name, super::SLEEP);
    change(context(&mut config));
    node.run(&config).await
}

fn change(add: &[&str], drop: &[&str]) -> Option<Capability> {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Some(Capability {
        add_capabilities: owned(add),
        drop_capabilities: owned(drop),
        ..Default::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_are_added_and_dropped() {
    let node = Node::new().await;
    let usual = capabilities(&node, &run(&node, "usual", |_| {}).await).await;
    assert_eq!(usual & (NET_ADMIN | CHOWN), CHOWN);
    let added = run(&node, "added", |c| {
        c.capabilities = change(&["NET_ADMIN"], &["CHOWN"])
    })
    .await;
    assert_eq!(capabilities(&node, &added).await, (usual | NET_ADMIN) & !CHOWN);
    let none = run(&node, "none", |c| c.capabilities = change(&[], &["ALL"])).await;
    assert_eq!(capabilities(&node, &none).await, 0);
    let only = run(&node, "only", |c| {
        c.capabilities = change(&["CAP_CHOWN"], &["ALL"])
    })
    .await;
    assert_eq!(capabilities(&node, &only).await, CHOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_containers_may_do_everything_in_a_privileged_pod() {
    let node = Node::with(|pod| {
        pod.linux
            .as_mut()
            .unwrap()
            .security_context
            .as_mut()
            .unwrap()
            .privileged = true;
    })
    .await;
    let mut config = node.config("privileged", super::SLEEP);
    context(&mut config).privileged = true;
    let id = node.daemon.create(&node.sandbox, &node.pod, &config).await;
    assert_eq!(Engine::get().inspect(&id)["HostConfig"]["Privileged"], true);
    let request = StartContainerRequest {
        container_id: id.clone(),
    };
    match node.daemon.runtime().start_container(request).await {
        Ok(_) => {
            let has = capabilities(&node, &id).await;
            let wanted = NET_ADMIN | SYS_ADMIN | CHOWN;
            assert_eq!(has & wanted, wanted, "{has:x}");
            assert_eq!(status(&node, &id, "Seccomp").await, "0");
        }
        // A host that lacks capabilities itself cannot give them all: then the Engine says the same when
        // it is asked directly.
        Err(error) => {
            let (status, answer) = Engine::get().call("POST", &format!("/containers/{id}/start"), None);
            assert!(
                status >= 400,
                "the Engine can start what dockside cannot: {error}"
            );
            let reason = "unable to apply caps";
            assert!(answer.to_string().contains(reason), "{answer}");
            assert!(error.message().contains(reason), "{error}");
        }
    }
    let plain = run(&node, "plain", |_| {}).await;
    assert_eq!(capabilities(&node, &plain).await & NET_ADMIN, 0);
}

/// The kubelet says of a sandbox that it is privileged once `kubectl debug` has added a container that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_container_may_be_added_to_a_pod() {
    let node = Node::new().await;
    let mut config = node.config("debugger", super::SLEEP);
    context(&mut config).privileged = true;
    let error = node.daemon.try_create(&node.sandbox, &node.pod, &config).await;
    assert_eq!(error.unwrap_err().code(), Code::InvalidArgument);
    let mut pod = node.pod.clone();
    let linux = pod.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().privileged = true;
    let id = node.daemon.create(&node.sandbox, &pod, &config).await;
    assert_eq!(Engine::get().inspect(&id)["HostConfig"]["Privileged"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_root_is_read_only() {
    let node = Node::new().await;
    let id = run(&node, "read-only", |c| c.readonly_rootfs = true).await;
    let answer = node.daemon.exec(&id, &["touch", "/file"], 0).await.unwrap();
    assert_eq!(answer.exit_code, 1);
    assert!(String::from_utf8_lossy(&answer.stderr).contains("Read-only file system"));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_privileges_are_forbidden_where_asked() {
    let node = Node::new().await;
    let id = run(&node, "forbidden", |c| c.no_new_privs = true).await;
    assert_eq!(status(&node, &id, "NoNewPrivs").await, "1");
    let id = run(&node, "allowed", |_| {}).await;
    assert_eq!(status(&node, &id, "NoNewPrivs").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn seccomp_profiles() {
    let node = Node::new().await;
    let path = node.daemon.dir().join("profile.json");
    fs::write(
        &path,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#,
    )
    .unwrap();
    let profile = |kind: ProfileType, localhost: &str| {
        Some(SecurityProfile {
            profile_type: kind.into(),
            localhost_ref: localhost.into(),
        })
    };
    let path = path.display().to_string();
    for (name, seccomp, mode, mkdir) in [
        ("absent", None, "0", 0),
        ("unconfined", profile(ProfileType::Unconfined, ""), "0", 0),
        ("default", profile(ProfileType::RuntimeDefault, ""), "2", 0),
        ("localhost", profile(ProfileType::Localhost, &path), "2", 1),
    ] {
        let id = run(&node, name, |c| c.seccomp = seccomp).await;
        assert_eq!(status(&node, &id, "Seccomp").await, mode, "{name}");
        assert_eq!(
            node.daemon
                .exec(&id, &["mkdir", "/new"], 0)
                .await
                .unwrap()
                .exit_code,
            mkdir,
            "{name}"
        );
    }
    let mut config = node.config("missing", super::SLEEP);
    context(&mut config).seccomp = profile(ProfileType::Localhost, "/no/such/profile.json");
    let error = node
        .daemon
        .try_create(&node.sandbox, &node.pod, &config)
        .await
        .unwrap_err();
    assert!(error.message().contains("/no/such/profile.json"), "{error}");
    assert_ne!(error.code(), Code::Internal);
}
