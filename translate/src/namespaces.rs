//! Which namespaces a sandbox makes, and which of them its containers join.

use cri::{NamespaceMode, NamespaceOption, UserNamespace};

use crate::{Invalid, facts::EngineFacts};

const FIELD: &str = "config.linux.security_context.namespace_options";

/// The Engine's words for a container's namespaces; `None` leaves a field unset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceModes {
    /// `HostConfig.NetworkMode`. With `container:` the Engine takes no hostname, DNS settings,
    /// extra hosts or ports beside it.
    pub network: String,
    /// `HostConfig.PidMode`; unset is a private one.
    pub pid: Option<String>,
    /// `HostConfig.IpcMode`, always explicit because the Engine's default can be configured.
    pub ipc: String,
    /// `HostConfig.UTSMode`. When it is `host`, no hostname may be sent.
    pub uts: Option<String>,
    /// `HostConfig.UsernsMode`.
    pub userns: Option<String>,
}

/// What gives a pod its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkPlugin<'a> {
    /// CNI plugins, after the sandbox has started: the Engine is to set up nothing.
    Cni,
    /// An Engine network of this name.
    Named(&'a str),
}

/// The sandbox a container is created in.
#[derive(Debug, Clone, Copy)]
pub struct Sandbox<'a> {
    /// The pause container's id.
    pub id: &'a str,
    /// The namespace options it was created with.
    pub options: Option<&'a NamespaceOption>,
    /// Whether the pod may hold privileged containers.
    pub privileged: bool,
}

/// The namespaces of a sandbox's pause container.
///
/// IPC is made `shareable`, so that containers can join it; the process namespace needs no such
/// word. `privileged` is the sandbox's own flag: see [`NamespaceModes::userns`].
pub fn sandbox(
    options: Option<&NamespaceOption>,
    privileged: bool,
    plugin: NetworkPlugin<'_>,
    facts: &EngineFacts,
) -> Result<NamespaceModes, Invalid> {
    let asked = Asked::read(options)?;
    let network = match (asked.network, plugin) {
        (NamespaceMode::Pod, NetworkPlugin::Cni) => "none".to_owned(),
        (NamespaceMode::Pod, NetworkPlugin::Named(name)) => name.to_owned(),
        (NamespaceMode::Node, _) => "host".to_owned(),
        (mode, _) => return Err(wrong("network", mode, "a sandbox takes POD or NODE")),
    };
    let pid = match asked.pid {
        NamespaceMode::Pod | NamespaceMode::Container => None,
        NamespaceMode::Node => Some("host".to_owned()),
        mode @ NamespaceMode::Target => {
            return Err(wrong("pid", mode, "a sandbox takes POD, CONTAINER or NODE"));
        }
    };
    let ipc = match asked.ipc {
        NamespaceMode::Pod | NamespaceMode::Container => "shareable".to_owned(),
        NamespaceMode::Node => "host".to_owned(),
        mode @ NamespaceMode::Target => {
            return Err(wrong("ipc", mode, "a sandbox takes POD, CONTAINER or NODE"));
        }
    };
    Ok(NamespaceModes {
        network,
        pid,
        ipc,
        uts: asked.uts(),
        userns: asked.userns(privileged, facts),
    })
}

/// The namespaces of a container: mostly its sandbox's.
///
/// The network is always the sandbox's, by `container:` even on the node's own network, because the
/// Engine then shares the sandbox's `resolv.conf` and `hosts` as well. Asking for the node's network or
/// IPC in a sandbox that has its own is refused rather than ignored. That a `TARGET` container belongs
/// to the same sandbox is for the caller to check, who knows the pod's containers.
pub fn container(
    options: Option<&NamespaceOption>,
    sandbox: Sandbox<'_>,
    facts: &EngineFacts,
) -> Result<NamespaceModes, Invalid> {
    let asked = Asked::read(options)?;
    let pod = Asked::read(sandbox.options)?;
    let joined = || format!("container:{}", sandbox.id);
    match (asked.network, pod.network) {
        (NamespaceMode::Pod, _) | (NamespaceMode::Node, NamespaceMode::Node) => {}
        (NamespaceMode::Node, _) => return Err(not_the_sandboxs("network")),
        (mode, _) => return Err(wrong("network", mode, "a container takes POD or NODE")),
    }
    let pid = match asked.pid {
        NamespaceMode::Pod => Some(joined()),
        NamespaceMode::Container => None,
        NamespaceMode::Node => Some("host".to_owned()),
        NamespaceMode::Target => Some(format!("container:{}", target(asked.target)?)),
    };
    let ipc = match (asked.ipc, pod.ipc) {
        (NamespaceMode::Pod | NamespaceMode::Node, NamespaceMode::Node) => "host".to_owned(),
        (NamespaceMode::Pod, _) => joined(),
        (NamespaceMode::Container, _) => "private".to_owned(),
        (NamespaceMode::Node, _) => return Err(not_the_sandboxs("ipc")),
        (mode @ NamespaceMode::Target, _) => {
            return Err(wrong("ipc", mode, "a container takes POD, CONTAINER or NODE"));
        }
    };
    Ok(NamespaceModes {
        network: joined(),
        pid,
        ipc,
        uts: pod.uts(),
        userns: pod.userns(sandbox.privileged, facts),
    })
}

/// The modes of a request with every number known; absent options are all `POD`, as the zero value says.
struct Asked<'a> {
    network: NamespaceMode,
    pid: NamespaceMode,
    ipc: NamespaceMode,
    target: &'a str,
}

impl<'a> Asked<'a> {
    fn read(options: Option<&'a NamespaceOption>) -> Result<Self, Invalid> {
        let Some(options) = options else {
            return Ok(Self {
                network: NamespaceMode::Pod,
                pid: NamespaceMode::Pod,
                ipc: NamespaceMode::Pod,
                target: "",
            });
        };
        if let Some(userns) = &options.userns_options {
            only_the_nodes(userns)?;
        }
        Ok(Self {
            network: mode(options.network, "network")?,
            pid: mode(options.pid, "pid")?,
            ipc: mode(options.ipc, "ipc")?,
            target: &options.target_id,
        })
    }

    /// A pod on the node's network carries the node's name; `container:` networking copies the name but
    /// gives each container a UTS namespace of its own, so it has to be said.
    fn uts(&self) -> Option<String> {
        (self.network == NamespaceMode::Node).then(|| "host".to_owned())
    }

    /// Under a remapped Engine, whatever shares the node's namespaces or is privileged must leave the
    /// remapping, and then the whole pod must: a namespace belongs to the user namespace it was made in.
    fn userns(&self, privileged: bool, facts: &EngineFacts) -> Option<String> {
        let shares = [self.network, self.pid, self.ipc].contains(&NamespaceMode::Node);
        (facts.userns_remap && (privileged || shares)).then(|| "host".to_owned())
    }
}

fn mode(number: i32, name: &str) -> Result<NamespaceMode, Invalid> {
    NamespaceMode::try_from(number).map_err(|_| {
        Invalid::new(
            format!("{FIELD}.{name}"),
            format!("{number} is not a known namespace mode"),
        )
    })
}

fn wrong(name: &str, mode: NamespaceMode, expected: &str) -> Invalid {
    Invalid::new(
        format!("{FIELD}.{name}"),
        format!("{} is not possible: {expected}", mode.as_str_name()),
    )
}

fn not_the_sandboxs(name: &str) -> Invalid {
    Invalid::new(
        format!("{FIELD}.{name}"),
        "NODE is asked for, but the container's sandbox has a namespace of its own",
    )
}

/// The Engine remaps users for all of its containers or for none, never for one pod.
fn only_the_nodes(userns: &UserNamespace) -> Result<(), Invalid> {
    let asked = mode(userns.mode, "userns_options.mode")?;
    if asked != NamespaceMode::Node {
        return Err(Invalid::new(
            format!("{FIELD}.userns_options.mode"),
            format!(
                "{} asks for a user namespace of the pod's own, which Docker Engine cannot make; \
                 set hostUsers to true",
                asked.as_str_name()
            ),
        ));
    }
    if !userns.uids.is_empty() || !userns.gids.is_empty() {
        return Err(Invalid::new(
            format!("{FIELD}.userns_options"),
            "the node's user namespace takes no id mappings",
        ));
    }
    Ok(())
}

fn target(id: &str) -> Result<&str, Invalid> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if id.is_empty() {
        Err(Invalid::new(
            format!("{FIELD}.target_id"),
            "is empty, but pid is TARGET",
        ))
    } else if !id.bytes().all(word) {
        Err(Invalid::new(
            format!("{FIELD}.target_id"),
            format!("{id:?} is not a container id"),
        ))
    } else {
        Ok(id)
    }
}

#[cfg(test)]
mod tests;
