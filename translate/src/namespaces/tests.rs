#![allow(clippy::unwrap_used, clippy::expect_used)]

use NamespaceMode::{Container, Node, Pod, Target};
use cri::IdMapping;
use proptest::prelude::*;

use super::*;
use crate::security::tests::facts;

fn options(network: NamespaceMode, pid: NamespaceMode, ipc: NamespaceMode) -> NamespaceOption {
    NamespaceOption {
        network: network.into(),
        pid: pid.into(),
        ipc: ipc.into(),
        ..Default::default()
    }
}

fn in_sandbox(options: Option<&NamespaceOption>) -> Sandbox<'_> {
    Sandbox {
        id: "abc",
        options,
        privileged: false,
    }
}

#[test]
fn sandboxes() {
    for (network, pid, ipc, expected) in [
        (Pod, Pod, Pod, ("none", None, "shareable", None)),
        (Pod, Container, Container, ("none", None, "shareable", None)),
        (Node, Container, Pod, ("host", None, "shareable", Some("host"))),
        (Pod, Node, Node, ("none", Some("host"), "host", None)),
    ] {
        let made = sandbox(
            Some(&options(network, pid, ipc)),
            false,
            NetworkPlugin::Cni,
            &facts(),
        )
        .unwrap();
        let flat = (
            made.network.as_str(),
            made.pid.as_deref(),
            made.ipc.as_str(),
            made.uts.as_deref(),
        );
        assert_eq!(flat, expected);
        assert_eq!(made.userns, None);
    }
}

#[test]
fn the_plugin_names_the_network_of_pods_only() {
    let plugin = NetworkPlugin::Named("dockside");
    assert_eq!(
        sandbox(None, false, plugin, &facts()).unwrap().network,
        "dockside"
    );
    let node = options(Node, Pod, Pod);
    assert_eq!(
        sandbox(Some(&node), false, plugin, &facts()).unwrap().network,
        "host"
    );
}

#[test]
fn containers() {
    for (asked, pod, expected) in [
        (
            (Pod, Pod, Pod),
            (Pod, Pod, Pod),
            (Some("container:abc"), "container:abc", None),
        ),
        (
            (Pod, Container, Pod),
            (Pod, Container, Pod),
            (None, "container:abc", None),
        ),
        (
            (Pod, Node, Pod),
            (Pod, Node, Pod),
            (Some("host"), "container:abc", None),
        ),
        (
            (Node, Container, Node),
            (Node, Container, Node),
            (None, "host", Some("host")),
        ),
        (
            (Pod, Container, Pod),
            (Node, Container, Node),
            (None, "host", Some("host")),
        ),
        (
            (Pod, Target, Container),
            (Pod, Container, Pod),
            (Some("container:def"), "private", None),
        ),
    ] {
        let pod = options(pod.0, pod.1, pod.2);
        let mut asked = options(asked.0, asked.1, asked.2);
        asked.target_id = "def".to_owned();
        let made = container(Some(&asked), in_sandbox(Some(&pod)), &facts()).unwrap();
        assert_eq!(
            (made.pid.as_deref(), made.ipc.as_str(), made.uts.as_deref()),
            expected
        );
        assert_eq!(made.network, "container:abc");
    }
    let made = container(None, in_sandbox(None), &facts()).unwrap();
    assert_eq!(
        made.pid.as_deref(),
        Some("container:abc"),
        "the zero value is POD"
    );
}

#[test]
fn refusals_of_containers() {
    for (asked, field) in [
        (options(Container, Pod, Pod), "network"),
        (options(Target, Pod, Pod), "network"),
        (options(Node, Pod, Pod), "network"),
        (options(Pod, Pod, Node), "ipc"),
        (options(Pod, Pod, Target), "ipc"),
        (options(Pod, Target, Pod), "target_id"),
        (
            NamespaceOption {
                target_id: "a/../b".to_owned(),
                ..options(Pod, Target, Pod)
            },
            "target_id",
        ),
        (
            NamespaceOption {
                pid: 77,
                ..Default::default()
            },
            "pid",
        ),
    ] {
        let error = container(Some(&asked), in_sandbox(None), &facts()).unwrap_err();
        assert_eq!(error.field, format!("{FIELD}.{field}"), "{error}");
    }
}

#[test]
fn refusals_of_sandboxes() {
    for (asked, field) in [
        (options(Container, Pod, Pod), "network"),
        (options(Target, Pod, Pod), "network"),
        (options(Pod, Target, Pod), "pid"),
        (options(Pod, Pod, Target), "ipc"),
        (
            NamespaceOption {
                network: -1,
                ..Default::default()
            },
            "network",
        ),
    ] {
        let error = sandbox(Some(&asked), false, NetworkPlugin::Cni, &facts()).unwrap_err();
        assert_eq!(error.field, format!("{FIELD}.{field}"), "{error}");
    }
}

#[test]
fn user_namespaces() {
    let with = |mode: i32, uids: Vec<IdMapping>| NamespaceOption {
        userns_options: Some(UserNamespace {
            mode,
            uids,
            gids: vec![],
        }),
        ..Default::default()
    };
    let try_both = |asked: &NamespaceOption| {
        let one = sandbox(Some(asked), false, NetworkPlugin::Cni, &facts());
        let two = container(Some(asked), in_sandbox(None), &facts());
        assert_eq!(one.is_ok(), two.is_ok());
        one
    };
    assert!(
        try_both(&with(Node.into(), vec![])).is_ok(),
        "the kubelet always sends NODE"
    );
    for mode in [Pod, Container, Target] {
        let error = try_both(&with(mode.into(), vec![])).unwrap_err();
        assert_eq!(error.field, format!("{FIELD}.userns_options.mode"));
        assert!(error.why.contains(mode.as_str_name()));
    }
    assert!(try_both(&with(9, vec![])).is_err());
    assert!(try_both(&with(Node.into(), vec![IdMapping::default()])).is_err());
}

#[test]
fn a_remapped_engine_lets_host_pods_out_as_a_whole() {
    let mut facts = facts();
    facts.userns_remap = true;
    for (pod, privileged, expected) in [
        (options(Pod, Container, Pod), false, None),
        (options(Node, Container, Pod), false, Some("host")),
        (options(Pod, Node, Pod), false, Some("host")),
        (options(Pod, Container, Node), false, Some("host")),
        (options(Pod, Container, Pod), true, Some("host")),
    ] {
        let pause = sandbox(Some(&pod), privileged, NetworkPlugin::Cni, &facts).unwrap();
        assert_eq!(pause.userns.as_deref(), expected);
        let sandbox = Sandbox {
            id: "abc",
            options: Some(&pod),
            privileged,
        };
        let member = container(Some(&options(Pod, Container, Pod)), sandbox, &facts).unwrap();
        assert_eq!(member.userns, pause.userns);
    }
}

proptest! {
    #[test]
    fn never_panics(network: i32, pid in -1..5, ipc in -1..5, target_id in ".*", userns in -1..5) {
        let asked = NamespaceOption {
            network, pid, ipc, target_id,
            userns_options: Some(UserNamespace { mode: userns, ..Default::default() }),
        };
        let _ = sandbox(Some(&asked), true, NetworkPlugin::Cni, &facts());
        let _ = container(Some(&asked), in_sandbox(Some(&asked)), &facts());
    }
}
