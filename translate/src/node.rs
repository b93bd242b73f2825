//! What the kubelet asks about the node: version, readiness, cgroup driver.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    facts::{CgroupDriver, EngineFacts},
    mounts,
};

/// The kubelet refuses any other.
const KUBE_API_VERSION: &str = "0.1.0";

/// The scheme of container ids in pod status (`docker://…`); log shippers and device agents look for it.
pub const RUNTIME_NAME: &str = "docker";

/// The Engine's version, its API's padded to the three parts that the kubelet parses.
pub fn version(facts: &EngineFacts) -> cri::VersionResponse {
    cri::VersionResponse {
        version: KUBE_API_VERSION.into(),
        runtime_name: RUNTIME_NAME.into(),
        runtime_version: facts.version.clone(),
        runtime_api_version: format!("{}.0", facts.api),
    }
}

/// The cgroup driver; without one (a rootless Engine) the kubelet goes by its own configuration.
pub fn runtime_config(facts: &EngineFacts) -> cri::RuntimeConfigResponse {
    let driver = match facts.cgroup_driver {
        CgroupDriver::Systemd => cri::CgroupDriver::Systemd,
        CgroupDriver::Cgroupfs => cri::CgroupDriver::Cgroupfs,
        CgroupDriver::None => return cri::RuntimeConfigResponse::default(),
    };
    cri::RuntimeConfigResponse {
        linux: Some(cri::LinuxRuntimeConfiguration {
            cgroup_driver: driver.into(),
        }),
    }
}

/// The node's readiness. `engine` and `network` say why they are not ready, where they are not.
pub fn status(
    engine: Result<(), String>,
    network: Result<(), String>,
    facts: Option<&EngineFacts>,
) -> cri::StatusResponse {
    let conditions = vec![
        condition("RuntimeReady", "DockerDaemonNotReady", engine),
        condition("NetworkReady", "NetworkPluginNotReady", network),
    ];
    cri::StatusResponse {
        status: Some(cri::RuntimeStatus { conditions }),
        runtime_handlers: facts.map(handlers).unwrap_or_default(),
        // Of the rest nothing is possible in front of Docker.
        features: Some(cri::RuntimeFeatures {
            supplemental_groups_policy: true,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn condition(kind: &str, reason: &str, ready: Result<(), String>) -> cri::RuntimeCondition {
    let (status, message) = match ready {
        Ok(()) => (true, String::new()),
        Err(message) => (false, message),
    };
    let reason = if status { String::new() } else { reason.into() };
    cri::RuntimeCondition {
        r#type: kind.into(),
        status,
        reason,
        message,
    }
}

/// Every OCI runtime by name, and the default one under the empty name that an unset RuntimeClass has.
fn handlers(facts: &EngineFacts) -> Vec<cri::RuntimeHandler> {
    std::iter::once("")
        .chain(facts.runtimes.keys().map(String::as_str))
        .map(|name| cri::RuntimeHandler {
            name: name.into(),
            features: Some(cri::RuntimeHandlerFeatures {
                recursive_read_only_mounts: mounts::recursive_read_only(facts, name),
                // One remapping for the whole Engine is no user namespace of a pod's own.
                user_namespaces: false,
            }),
        })
        .collect()
}

/// What `crictl info` shows of the Engine.
pub fn info(facts: &EngineFacts) -> BTreeMap<String, String> {
    let engine = json!({
        "version": facts.version,
        "apiVersion": facts.api.to_string(),
        "kernel": facts.kernel,
        "cgroupVersion": facts.cgroup_version,
        "cgroupDriver": format!("{:?}", facts.cgroup_driver).to_lowercase(),
        "defaultRuntime": facts.default_runtime,
        "runtimes": facts.runtimes.keys().collect::<Vec<_>>(),
        "rootDirectory": facts.root_dir,
        "containerdImageStore": facts.containerd_store,
        "apparmor": facts.apparmor,
        "selinux": facts.selinux,
        "seccomp": facts.seccomp,
        "usernsRemap": facts.userns_remap,
    });
    BTreeMap::from([("engine".into(), engine.to_string())])
}

#[cfg(test)]
mod tests;
