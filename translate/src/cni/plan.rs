//! What is run: a plugin, its environment, its document.
//!
//! `ADD` goes through a network's plugins forward, `DEL` backward. Documents are
//! libcni's: unlike the text of the specification it leaves `capabilities` in them, and plugins
//! that run other plugins read it there.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Fields, Version,
    conf::{Network, Plugin},
    is_valid_name, raw,
};
use crate::Invalid;

/// What a plugin is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the specification's words")]
pub enum Command {
    Add,
    Del,
    Status,
    Gc,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Status => "STATUS",
            Self::Gc => "GC",
        })
    }
}

/// One connection of a pod to a network.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The sandbox's id.
    pub container_id: String,
    /// The path of the pod's network namespace; empty if it is gone.
    pub netns: String,
    /// The name of the pod's interface.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: Vec<[String; 2]>,
    /// Capability arguments.
    pub capabilities: Fields,
}

/// A pod by name, as it is told to plugins.
#[derive(Debug, Clone, Copy)]
pub struct PodName<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub name: &'a str,
    /// The pod's uid: it tells the incarnations of one name apart.
    pub uid: &'a str,
    /// The sandbox's id.
    pub sandbox_id: &'a str,
}

impl Attachment {
    /// The attachment of a pod.
    ///
    /// # Errors
    ///
    /// A name that cannot be told to a plugin.
    pub fn new(pod: PodName<'_>, netns: &str, ifname: &str, capabilities: Fields) -> Result<Self, Invalid> {
        if !is_valid_name(pod.sandbox_id) {
            return Err(Invalid::new(
                "pod_sandbox_id",
                format!("{:?} is not an id that CNI allows", pod.sandbox_id),
            ));
        }
        if ifname.is_empty()
            || ifname.len() > 15
            || matches!(ifname, "." | "..")
            || ifname.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
        {
            return Err(Invalid::new(
                "interface",
                format!("{ifname:?} is not the name of an interface"),
            ));
        }
        let args = [
            ("IgnoreUnknown", "1", ""),
            ("K8S_POD_NAMESPACE", pod.namespace, "config.metadata.namespace"),
            ("K8S_POD_NAME", pod.name, "config.metadata.name"),
            ("K8S_POD_INFRA_CONTAINER_ID", pod.sandbox_id, "pod_sandbox_id"),
            ("K8S_POD_UID", pod.uid, "config.metadata.uid"),
        ];
        for (_, value, field) in args {
            // `a=b;c=d` has no escapes: plugins would read another pair, or fail.
            if value.contains([';', '=']) || value.contains(char::is_control) {
                return Err(Invalid::new(
                    field,
                    format!("{value:?} cannot be told to a CNI plugin"),
                ));
            }
        }
        Ok(Self {
            container_id: pod.sandbox_id.to_owned(),
            netns: netns.to_owned(),
            ifname: ifname.to_owned(),
            args: args
                .map(|(key, value, _)| [key.to_owned(), value.to_owned()])
                .to_vec(),
            capabilities,
        })
    }
}

/// One run of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The name of the executable.
    pub plugin: String,
    /// What it is told to do.
    pub command: Command,
    /// Its environment, except for `CNI_PATH` and what the runtime itself passes on.
    pub env: Vec<(&'static str, String)>,
    /// Its standard input.
    pub stdin: String,
}

/// An attachment as `GC` names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ValidAttachment {
    /// The sandbox's id.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The name of its interface.
    pub ifname: String,
}

/// `ADD` for one plugin; `previous` is the result of the plugin before it.
pub fn add(
    network: &Network,
    plugin: &Plugin,
    attachment: &Attachment,
    previous: Option<&RawValue>,
) -> Invocation {
    attached(Command::Add, network, plugin, attachment, previous)
}

/// `DEL` for the first `count` plugins, the last of them first; `result` is that of the `ADD`.
pub fn del(
    network: &Network,
    count: usize,
    attachment: &Attachment,
    result: Option<&RawValue>,
) -> Vec<Invocation> {
    // Before 0.4.0 a plugin does not expect a result here.
    let result = result.filter(|_| network.version >= Version::V0_4_0);
    let one = |plugin| attached(Command::Del, network, plugin, attachment, result);
    network.plugins.iter().take(count).rev().map(one).collect()
}

/// `STATUS` for every plugin; nothing is to be run if the configuration is older.
pub fn status(network: &Network) -> Vec<Invocation> {
    if network.version < Version::V1_1_0 {
        return Vec::new();
    }
    let one = |plugin| detached(Command::Status, network, plugin, Fields::new());
    network.plugins.iter().map(one).collect()
}

/// `GC` for every plugin; nothing is to be run if the configuration disables it or is older.
pub fn gc(network: &Network, valid: &[ValidAttachment]) -> Vec<Invocation> {
    if network.disable_gc || network.version < Version::V1_1_0 {
        return Vec::new();
    }
    let valid = raw(&valid);
    let one = |plugin| {
        // The second name is an early draft's; libcni sends both, plugins know one or the other.
        let extra = Fields::from([
            ("cni.dev/valid-attachments".to_owned(), valid.clone()),
            ("cni.dev/attachments".to_owned(), valid.clone()),
        ]);
        detached(Command::Gc, network, plugin, extra)
    };
    network.plugins.iter().map(one).collect()
}

fn attached(
    command: Command,
    network: &Network,
    plugin: &Plugin,
    attachment: &Attachment,
    previous: Option<&RawValue>,
) -> Invocation {
    let mut extra = Fields::new();
    if let Some(previous) = previous {
        extra.insert("prevResult".to_owned(), previous.to_owned());
    }
    let declared: Fields = attachment
        .capabilities
        .iter()
        .filter(|(name, _)| plugin.capabilities.contains(*name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !declared.is_empty() {
        extra.insert("runtimeConfig".to_owned(), raw(&declared));
    }
    let args: Vec<String> = attachment
        .args
        .iter()
        .map(|[key, value]| format!("{key}={value}"))
        .collect();
    Invocation {
        plugin: plugin.kind.clone(),
        command,
        env: vec![
            ("CNI_COMMAND", command.to_string()),
            ("CNI_CONTAINERID", attachment.container_id.clone()),
            ("CNI_NETNS", attachment.netns.clone()),
            ("CNI_IFNAME", attachment.ifname.clone()),
            ("CNI_ARGS", args.join(";")),
        ],
        stdin: document(network, plugin, extra),
    }
}

/// A run that is about no attachment. libcni sets the variables of one all the same, empty.
fn detached(command: Command, network: &Network, plugin: &Plugin, extra: Fields) -> Invocation {
    let empty = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"].map(|name| (name, String::new()));
    Invocation {
        plugin: plugin.kind.clone(),
        command,
        env: [("CNI_COMMAND", command.to_string())]
            .into_iter()
            .chain(empty)
            .collect(),
        stdin: document(network, plugin, extra),
    }
}

fn document(network: &Network, plugin: &Plugin, extra: Fields) -> String {
    let mut fields = plugin.fields.clone();
    fields.insert("name".to_owned(), raw(&network.name));
    fields.insert("cniVersion".to_owned(), raw(&network.version.to_string()));
    fields.extend(extra);
    raw(&fields).get().to_owned()
}

#[cfg(test)]
mod tests;
