//! A sandbox's configuration as the pause container that stands for it.

use bollard_stubs::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum,
};

use crate::{
    Invalid, annotations, cgroup, dns,
    facts::{EngineFacts, HostView},
    labels::{self, SandboxRecord},
    logs,
    namespaces::{self, NetworkPlugin},
    ports, required, security, sysctls,
};

/// What the kernel should kill last, after the node's own daemons. The kubelet uses the same.
const OOM_SCORE_ADJ: i32 = -998;

/// The least CPU weight: a pause process only sleeps.
const CPU_SHARES: i64 = 2;

/// A container's first process is its own: an Engine can be configured to put another in front of it.
pub(crate) const NO_INIT: bool = false;

/// The longest hostname the kernel takes.
const MAX_HOSTNAME: usize = 64;

/// Everything RunPodSandbox is going to do.
#[derive(Debug, Clone)]
pub struct SandboxPlan {
    /// The pause container's name.
    pub name: String,
    /// The pause container.
    pub body: ContainerCreateBody,
    /// What was asked for.
    pub record: SandboxRecord,
    /// The text of the pod's `resolv.conf`; `None` is a copy of the host's.
    pub resolv_conf: Option<String>,
    /// Whether the pod uses the host's network.
    pub host_network: bool,
    /// The directory of the pod's logs, empty if none is wanted.
    pub log_directory: String,
    /// Where the result differs from what was asked, for the log.
    pub caveats: Vec<String>,
}

/// A sandbox that was asked for, and what decides how it is made.
#[derive(Debug, Clone, Copy)]
pub struct SandboxRequest<'a> {
    /// The configuration.
    pub config: &'a cri::PodSandboxConfig,
    /// The RuntimeClass handler, empty for the default.
    pub runtime_handler: &'a str,
    /// The pause image.
    pub image: &'a str,
    /// Who gives the pod its network.
    pub network: NetworkPlugin<'a>,
    /// Now, in nanoseconds since the epoch.
    pub created_at: i64,
}

/// Plans a sandbox.
pub fn plan(
    request: SandboxRequest<'_>,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<SandboxPlan, Invalid> {
    let SandboxRequest {
        config,
        runtime_handler,
        ..
    } = request;
    let linux = config.linux.as_ref();
    let context = linux.and_then(|linux| linux.security_context.as_ref());
    let options = context.and_then(|context| context.namespace_options.as_ref());
    let metadata = required(&config.metadata, "config.metadata")?;
    let name = labels::sandbox_name(metadata)?;

    let security = security::sandbox(context, facts, host)?;
    let privileged = context.is_some_and(|context| context.privileged);
    let modes = namespaces::sandbox(options, privileged, request.network, facts)?;
    let host_network = modes.network == "host";
    let ports = ports::read(&config.port_mappings)?;
    let hostname = hostname(&config.hostname)?;
    let log_directory = logs::directory(&config.log_directory, "config.log_directory")?;
    let parent = linux.map_or("", |linux| linux.cgroup_parent.as_str());
    let cgroup_parent = cgroup::parent(parent, facts.cgroup_driver)?;
    let mut caveats = security.caveats;
    caveats.extend(cgroup::caveat(parent, facts.cgroup_driver));
    if host_network {
        caveats.extend(ports.iter().filter_map(ports::Checked::off_the_node));
    }
    if let Some(name) = hostname.as_ref().filter(|_| host_network) {
        caveats.push(format!(
            "hostname {name:?}: a pod on the node's network has the node's name"
        ));
    }
    if config.windows.is_some() {
        caveats.push("windows: passed over, these containers are Linux's".to_owned());
    }
    let runtime = handler(runtime_handler, facts)?;
    let (annotations, caveat) = annotations::to_runtime(&[&config.annotations], runtime.as_deref(), facts);
    caveats.extend(caveat);
    let (published, exposed) = match request.network {
        NetworkPlugin::Named(_) if !host_network => ports::publish(&ports),
        // On the node's network a port is the node's as it is; a CNI plugin finds them in the record.
        _ => Default::default(),
    };

    let record = SandboxRecord {
        config: config.clone(),
        runtime_handler: runtime_handler.to_owned(),
        created_at: request.created_at,
    };
    let body = ContainerCreateBody {
        image: Some(request.image.to_owned()),
        hostname: hostname.filter(|_| !host_network),
        user: security.user,
        exposed_ports: (!exposed.is_empty()).then_some(exposed),
        labels: Some(labels::sandbox_labels(&record).into_iter().collect()),
        healthcheck: Some(no_healthcheck()),
        host_config: Some(HostConfig {
            network_mode: Some(modes.network),
            pid_mode: modes.pid,
            ipc_mode: Some(modes.ipc),
            uts_mode: modes.uts,
            userns_mode: modes.userns,
            cgroupns_mode: Some(security.cgroupns),
            port_bindings: (!published.is_empty()).then_some(published),
            sysctls: linux
                .map(|linux| sysctls::sandbox(&linux.sysctls, options))
                .transpose()?
                .filter(|s| !s.is_empty()),
            cgroup_parent,
            runtime,
            annotations: (!annotations.is_empty()).then_some(annotations),
            group_add: (!security.group_add.is_empty()).then_some(security.group_add),
            readonly_rootfs: Some(security.readonly_rootfs),
            security_opt: Some(security.security_opt),
            oom_score_adj: Some(
                host.oom_score_adj_floor
                    .map_or(OOM_SCORE_ADJ, |floor| floor.max(OOM_SCORE_ADJ))
                    .into(),
            ),
            cpu_shares: Some(CPU_SHARES),
            init: Some(NO_INIT),
            log_config: Some(no_log()),
            restart_policy: Some(never_restart()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    Ok(SandboxPlan {
        name,
        body,
        resolv_conf: dns::resolv_conf(config.dns_config.as_ref())?,
        host_network,
        log_directory: log_directory.to_owned(),
        record,
        caveats,
    })
}

/// The OCI runtime of a RuntimeClass handler. `docker` is what cri-dockerd calls the default.
pub(crate) fn handler(handler: &str, facts: &EngineFacts) -> Result<Option<String>, Invalid> {
    match handler {
        "" | "docker" => Ok(None),
        name if facts.runtimes.contains_key(name) => Ok(Some(name.to_owned())),
        name => {
            let known = facts
                .runtimes
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            let why = format!("{name:?} is no runtime of this docker engine, which has {known}");
            Err(Invalid::new("runtime_handler", why))
        }
    }
}

fn hostname(name: &str) -> Result<Option<String>, Invalid> {
    if name.len() > MAX_HOSTNAME {
        let why = format!(
            "has {} characters, at most {MAX_HOSTNAME} are possible",
            name.len()
        );
        return Err(Invalid::new("config.hostname", why));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !name.chars().all(fits) {
        return Err(Invalid::new(
            "config.hostname",
            format!("{name:?} is no hostname"),
        ));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// Kubernetes has probes of its own; an image's health check would run beside them.
pub(crate) fn no_healthcheck() -> HealthConfig {
    HealthConfig {
        test: Some(vec!["NONE".into()]),
        ..HealthConfig::default()
    }
}

/// Restarts are the kubelet's.
pub(crate) fn never_restart() -> RestartPolicy {
    RestartPolicy {
        name: Some(RestartPolicyNameEnum::NO),
        maximum_retry_count: None,
    }
}

/// No log at all.
pub(crate) fn no_log() -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("none".into()),
        config: None,
    }
}

#[cfg(test)]
mod tests;
