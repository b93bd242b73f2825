//! A container's configuration as an Engine container.

use std::collections::BTreeMap;

use bollard_stubs::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};

use crate::{
    Invalid, annotations, answer, cgroup, devices,
    facts::{EngineFacts, HostView},
    labels::{self, ContainerRecord, SandboxRecord},
    logs, mounts, namespaces, paths, required, resources,
    resources::AfterStart,
    sandbox::{NO_INIT, handler, never_restart, no_healthcheck, no_log},
    security, signal,
};

/// Everything CreateContainer is going to do, and what StartContainer does after the start.
#[derive(Debug, Clone)]
pub struct ContainerPlan {
    /// The container's name.
    pub name: String,
    /// The container.
    pub body: ContainerCreateBody,
    /// What was asked for.
    pub record: ContainerRecord,
    /// Where the result differs from what was asked, for the log.
    pub caveats: Vec<String>,
}

/// A container that was asked for, and what decides how it is made.
#[derive(Debug, Clone, Copy)]
pub struct ContainerRequest<'a> {
    /// The configuration.
    pub config: &'a cri::ContainerConfig,
    /// The sandbox's configuration as this request repeats it.
    pub sandbox_config: Option<&'a cri::PodSandboxConfig>,
    /// The sandbox's id.
    pub sandbox_id: &'a str,
    /// The sandbox as it was made.
    pub sandbox: &'a SandboxRecord,
    /// The digest reference of the image, empty if it is not known.
    pub image_ref: &'a str,
    /// Now, in nanoseconds since the epoch.
    pub created_at: i64,
    /// How large each of the two files of the Engine's log may become, as the Engine writes it (`64m`).
    pub log_size: &'a str,
}

fn sandbox_context(pod: &cri::PodSandboxConfig) -> Option<&cri::LinuxSandboxSecurityContext> {
    pod.linux.as_ref()?.security_context.as_ref()
}

/// Plans a container.
pub fn plan(
    request: ContainerRequest<'_>,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<ContainerPlan, Invalid> {
    let ContainerRequest {
        config,
        sandbox_id,
        sandbox,
        ..
    } = request;
    // A sandbox made by another program has no configuration of its own here.
    let recorded = &sandbox.config;
    let pod = if recorded.linux.is_some() {
        recorded
    } else {
        request.sandbox_config.unwrap_or(recorded)
    };
    let metadata = required(&config.metadata, "config.metadata")?;
    let image = required(&config.image, "config.image")?;
    if image.image.is_empty() {
        return Err(Invalid::new("config.image.image", "is missing"));
    }
    let pod_metadata = recorded.metadata.as_ref().or(pod.metadata.as_ref());
    let pod_metadata = pod_metadata.ok_or_else(|| Invalid::new("sandbox_config.metadata", "is missing"))?;
    let name = labels::container_name(metadata, pod_metadata)?;

    let pod_context = sandbox_context(pod);
    // The kubelet counts a pod's containers anew for each request: with an ephemeral one (`kubectl debug --profile=sysadmin`)
    // a sandbox that was made without privileged containers gets one.
    let privileged = [pod_context, request.sandbox_config.and_then(sandbox_context)]
        .iter()
        .flatten()
        .any(|context| context.privileged);
    let linux = config.linux.as_ref();
    let context = linux.and_then(|linux| linux.security_context.as_ref());
    let security = security::container(
        context,
        security::Pod {
            privileged,
            process_label: &host.sandbox_label,
        },
        facts,
        host,
    )?;
    let modes = namespaces::container(
        context.and_then(|context| context.namespace_options.as_ref()),
        namespaces::Sandbox {
            id: sandbox_id,
            options: pod_context.and_then(|context| context.namespace_options.as_ref()),
            privileged,
        },
        facts,
    )?;
    let resources = resources::create(linux.and_then(|linux| linux.resources.as_ref()), facts, host)?;
    // The sandbox had the runtime once: if it has none now, the Engine was given others since.
    let runtime = handler(&sandbox.runtime_handler, facts)
        .map_err(|error| Invalid::new("pod_sandbox_id", format!("the sandbox's runtime: {}", error.why)))?;
    let mounts = mounts::container(
        &config.mounts,
        facts,
        host,
        runtime.as_deref().unwrap_or_default(),
    )?;
    let parent = pod
        .linux
        .as_ref()
        .map_or("", |linux| linux.cgroup_parent.as_str());
    let cgroup_parent = cgroup::parent(parent, facts.cgroup_driver)
        .map_err(|error| error.moved("config.", "sandbox_config."))?;
    // The kubelet repeats it in each request; other callers may leave it to the sandbox.
    let log_directory = request
        .sandbox_config
        .map(|repeated| repeated.log_directory.as_str())
        .filter(|directory| !directory.is_empty())
        .unwrap_or(&recorded.log_directory);
    let log_directory = logs::directory(log_directory, "sandbox_config.log_directory")?;
    let log_path = logs::path(log_directory, &config.log_path)?;
    let mut caveats = [security.caveats, mounts.caveats, resources.caveats].concat();
    if log_path.is_empty() && !config.log_path.is_empty() {
        caveats.push(format!(
            "log path {:?}: no log is written, the sandbox has no log directory",
            config.log_path
        ));
    }
    let given = [&recorded.annotations, &config.annotations];
    let (mut annotations, caveat) = annotations::to_runtime(&given, runtime.as_deref(), facts);
    annotations.extend(resources.annotations);
    caveats.extend(caveat);
    if config.windows.is_some() {
        caveats.push("windows: passed over, these containers are Linux's".to_owned());
    }

    let record = ContainerRecord {
        sandbox_id: sandbox_id.to_owned(),
        log_path,
        config: recorded_config(config, host),
        user: security.identity,
        image_ref: request.image_ref.to_owned(),
        created_at: request.created_at,
    };
    let body = ContainerCreateBody {
        image: Some(image.image.clone()),
        user: security.user,
        env: Some(environment(&config.envs)?),
        // The Engine keeps an image's arguments only where the request has no entry point.
        entrypoint: words(&config.command, "config.command")?,
        cmd: words(&config.args, "config.args")?,
        working_dir: working_dir(&config.working_dir)?,
        tty: Some(config.tty),
        open_stdin: Some(config.stdin),
        stdin_once: Some(config.stdin_once),
        stop_signal: signal::to_engine(config.stop_signal)?,
        labels: Some(labels::container_labels(&record).into_iter().collect()),
        healthcheck: Some(no_healthcheck()),
        host_config: Some(HostConfig {
            network_mode: Some(modes.network),
            pid_mode: modes.pid,
            ipc_mode: Some(modes.ipc),
            uts_mode: modes.uts,
            userns_mode: modes.userns,
            cgroupns_mode: Some(security.cgroupns),
            cgroup_parent,
            runtime,
            init: Some(NO_INIT),
            privileged: Some(security.privileged),
            readonly_rootfs: Some(security.readonly_rootfs),
            cap_add: (!security.cap_add.is_empty()).then_some(security.cap_add),
            cap_drop: (!security.cap_drop.is_empty()).then_some(security.cap_drop),
            group_add: (!security.group_add.is_empty()).then_some(security.group_add),
            security_opt: Some(security.security_opt),
            masked_paths: security.masked_paths,
            readonly_paths: security.readonly_paths,
            mounts: (!mounts.mounts.is_empty()).then_some(mounts.mounts),
            devices: Some(devices::container(&config.devices, host)?).filter(|d| !d.is_empty()),
            device_requests: Some(devices::cdi(&config.cdi_devices, facts)?).filter(|d| !d.is_empty()),
            log_config: Some(log_config(&record.log_path, request.log_size)),
            restart_policy: Some(never_restart()),
            cpu_period: resources.cpu_period,
            cpu_quota: resources.cpu_quota,
            cpu_shares: resources.cpu_shares,
            cpuset_cpus: resources.cpuset_cpus,
            cpuset_mems: resources.cpuset_mems,
            memory: resources.memory,
            memory_swap: resources.memory_swap,
            oom_score_adj: resources.oom_score_adj,
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    Ok(ContainerPlan {
        name,
        body,
        record,
        caveats,
    })
}

/// What a recorded container wants done after its start.
pub fn after_start(
    record: &ContainerRecord,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<AfterStart, Invalid> {
    resources::create(resources_of(record), facts, host).map(|settings| settings.after_start)
}

/// What may be left of it to do for a container that an earlier dockside started, and of which nothing is noted; `current` is what the
/// Engine says of it. The record is as old as the container: where the Engine has been told another memory limit since, that
/// one counts. A score may have been changed as well, and is left alone.
pub fn left_after_start(
    record: &ContainerRecord,
    current: &answer::HostConfig,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<AfterStart, Invalid> {
    let settings = resources::create(resources_of(record), facts, host)?;
    let mut writes = settings.after_start.writes;
    if settings.memory.unwrap_or(0) != current.memory {
        writes.retain(|write| !resources::is_of_memory_limit(write));
    }
    Ok(AfterStart {
        writes,
        oom_score_adj: None,
    })
}

fn resources_of(record: &ContainerRecord) -> Option<&cri::LinuxContainerResources> {
    record.config.linux.as_ref()?.resources.as_ref()
}

/// The configuration as it is recorded: without what the Engine has anyway, and with the ids of mounted
/// images, by which the kubelet knows that they are in use.
fn recorded_config(config: &cri::ContainerConfig, host: &HostView) -> cri::ContainerConfig {
    let mut recorded = cri::ContainerConfig {
        command: Vec::new(),
        args: Vec::new(),
        envs: Vec::new(),
        ..config.clone()
    };
    for image in recorded
        .mounts
        .iter_mut()
        .filter_map(|mount| mount.image.as_mut())
    {
        if let Some(id) = host.volume_images.get(&image.image) {
            image.image.clone_from(id);
            image.image_ref.clone_from(id);
        }
    }
    recorded
}

/// Command or arguments; `None` leaves them to the image.
fn words(list: &[String], field: &str) -> Result<Option<Vec<String>>, Invalid> {
    // The Engine takes an entry point of one empty word for none, and would run the arguments instead.
    if field.ends_with("command") && list.first().is_some_and(String::is_empty) {
        return Err(Invalid::new(
            format!("{field}[0]"),
            "is empty, which names no program",
        ));
    }
    match list.iter().position(|word| word.contains('\0')) {
        Some(index) => Err(Invalid::new(format!("{field}[{index}]"), "contains a zero byte")),
        None => Ok((!list.is_empty()).then(|| list.to_vec())),
    }
}

/// The directory a container starts in; `None` leaves it to the image.
fn working_dir(path: &str) -> Result<Option<String>, Invalid> {
    if path.is_empty() {
        return Ok(None);
    }
    paths::absolute(path, "config.working_dir")?;
    Ok(Some(path.to_owned()))
}

/// `NAME=value`. Of variables with one name the last counts: the Engine would pass on all of them, and
/// most programs would read the first.
fn environment(envs: &[cri::KeyValue]) -> Result<Vec<String>, Invalid> {
    let mut last = BTreeMap::new();
    let mut entries = Vec::with_capacity(envs.len());
    for (index, env) in envs.iter().enumerate() {
        let field = |name: &str| format!("config.envs[{index}].{name}");
        if env.key.is_empty() || env.key.contains(['=', '\0']) {
            let why = format!("{:?} is no name of a variable", env.key);
            return Err(Invalid::new(field("key"), why));
        }
        // The Engine's requests are JSON, which has no bytes that are not text.
        let value = std::str::from_utf8(&env.value).map_err(|_| {
            Invalid::new(
                field("value"),
                "is not UTF-8, which the docker engine cannot take",
            )
        })?;
        if value.contains('\0') {
            return Err(Invalid::new(field("value"), "contains a zero byte"));
        }
        last.insert(env.key.as_str(), index);
        entries.push(format!("{}={value}", env.key));
    }
    let entries = entries.into_iter().zip(envs).enumerate();
    Ok(entries
        .filter(|(index, (_, env))| last.get(env.key.as_str()) == Some(index))
        .map(|(_, (entry, _))| entry)
        .collect())
}

fn log_config(path: &str, size: &str) -> HostConfigLogConfig {
    if path.is_empty() {
        return no_log();
    }
    // Set whatever the Engine's default is, whose own options would be added: a compressed file cannot be
    // read while it is written. Its `mode` cannot be set as well: an Engine with a default `max-buffer-size` would
    // refuse the container.
    let options = [("max-size", size), ("max-file", "2"), ("compress", "false")];
    HostConfigLogConfig {
        typ: Some("json-file".into()),
        config: Some(options.map(|(key, value)| (key.into(), value.into())).into()),
    }
}

#[cfg(test)]
mod tests;
