//! A pod's sysctls.

use std::collections::{BTreeMap, HashMap};

use cri::{NamespaceMode, NamespaceOption};

use crate::Invalid;

/// The settings of the IPC namespace; a container on the host's cannot have its own.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// `HostConfig.Sysctls` of a pod's sandbox.
///
/// A setting of a namespace that the pod shares with the node would change the node: refused with
/// the namespace's name. Whether a setting belongs to a namespace at all is left to the runtime,
/// since one that runs a kernel of its own knows more of them.
pub fn sandbox(
    sysctls: &BTreeMap<String, String>,
    options: Option<&NamespaceOption>,
) -> Result<HashMap<String, String>, Invalid> {
    let host_network = options.is_some_and(|o| o.network == NamespaceMode::Node as i32);
    let host_ipc = options.is_some_and(|o| o.ipc == NamespaceMode::Node as i32);
    for name in sysctls.keys() {
        let refuse = |why: &str| Err(Invalid::new(format!("config.linux.sysctls[{name}]"), why));
        if !dotted(name) {
            return refuse("is not a sysctl's name: expected words joined by dots");
        }
        if host_network && name.starts_with("net.") {
            return refuse("cannot be set in a pod on the node's network: it would change the node");
        }
        if host_ipc && (IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.")) {
            return refuse("cannot be set in a pod that shares the node's IPC: it would change the node");
        }
    }
    Ok(sysctls.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
}

/// Whether `name` can only lead to a file below `/proc/sys`: the runtime turns dots into slashes,
/// so a slash or an empty word could lead elsewhere. Interface names bring upper case and `@`.
fn dotted(name: &str) -> bool {
    name.contains('.')
        && name.split('.').all(|word| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-@:".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn of(name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), "1".to_owned())])
    }

    fn modes(network: NamespaceMode, ipc: NamespaceMode) -> NamespaceOption {
        NamespaceOption {
            network: network.into(),
            ipc: ipc.into(),
            ..Default::default()
        }
    }

    #[test]
    fn passes_on() {
        use NamespaceMode::{Node, Pod};
        for (name, network, ipc) in [
            ("kernel.shm_rmid_forced", Pod, Pod),
            ("fs.mqueue.msg_max", Node, Pod),
            ("net.core.somaxconn", Pod, Node),
            ("net.ipv4.conf.eth0-1.forwarding", Pod, Pod),
        ] {
            let out = sandbox(&of(name), Some(&modes(network, ipc))).unwrap();
            assert_eq!(out, HashMap::from([(name.to_owned(), "1".to_owned())]));
        }
        assert!(sandbox(&BTreeMap::new(), None).unwrap().is_empty());
    }

    #[test]
    fn refuses() {
        use NamespaceMode::{Node, Pod};
        for (name, network, ipc, why) in [
            ("net.core.somaxconn", Node, Pod, "network"),
            ("kernel.shmmax", Pod, Node, "IPC"),
            ("fs.mqueue.msg_max", Pod, Node, "IPC"),
            ("kernel/shmmax", Pod, Pod, "name"),
            ("net..ipv4", Pod, Pod, "name"),
            ("..", Pod, Pod, "name"),
            ("kernel", Pod, Pod, "name"),
            ("", Pod, Pod, "name"),
            ("net.x\n", Pod, Pod, "name"),
        ] {
            let error = sandbox(&of(name), Some(&modes(network, ipc))).unwrap_err();
            assert_eq!(error.field, format!("config.linux.sysctls[{name}]"));
            assert!(error.why.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn accepted_names_stay_below_proc_sys(name in ".*") {
            if sandbox(&of(&name), None).is_ok() {
                let path = name.replace('.', "/");
                prop_assert!(!path.starts_with('/') && !path.contains("//") && !path.contains(".."));
            }
        }
    }
}
