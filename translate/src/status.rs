//! The Engine's containers as CRI's sandboxes and containers.

use std::net::IpAddr;

use crate::{
    answer::{ContainerEntry, ContainerInspect},
    labels::{ContainerRecord, SandboxRecord},
    resources, signal, time,
};

/// A container that exited because it could not be started.
const CANNOT_RUN: &str = "ContainerCannotRun";

/// The exit status of one that the Engine gives none, as containerd reports it.
const CANNOT_RUN_CODE: i32 = 128;

/// A pause container as the list shows it.
pub fn sandbox_item(entry: &ContainerEntry, record: &SandboxRecord) -> cri::PodSandbox {
    let created = entry.created.saturating_mul(1_000_000_000);
    sandbox_of(&entry.id, entry.state == "running", created, record)
}

/// The same of one that was inspected.
pub fn sandbox_item_inspected(inspect: &ContainerInspect, record: &SandboxRecord) -> cri::PodSandbox {
    let created = time::nanoseconds(&inspect.created);
    sandbox_of(&inspect.id, is_ready(inspect), created, record)
}

fn sandbox_of(id: &str, ready: bool, created: i64, record: &SandboxRecord) -> cri::PodSandbox {
    cri::PodSandbox {
        id: id.into(),
        metadata: record.config.metadata.clone(),
        state: sandbox_state(ready).into(),
        created_at: created_at(record.created_at, created),
        labels: record.config.labels.clone(),
        annotations: record.config.annotations.clone(),
        runtime_handler: record.runtime_handler.clone(),
    }
}

/// A pause container's whole status. `addresses` are the pod's, the primary one first; none are
/// reported for a pod in the host's network.
pub fn sandbox(
    inspect: &ContainerInspect,
    record: &SandboxRecord,
    addresses: &[IpAddr],
) -> cri::PodSandboxStatus {
    let options = record
        .config
        .linux
        .as_ref()
        .and_then(|linux| linux.security_context.as_ref())
        .and_then(|context| context.namespace_options.clone())
        .unwrap_or_else(|| {
            if record.created_at == 0 {
                namespaces_of(inspect)
            } else {
                // A request that names none asks for the pod's.
                cri::NamespaceOption::default()
            }
        });
    let mut addresses = addresses.iter().map(ToString::to_string);
    cri::PodSandboxStatus {
        id: inspect.id.clone(),
        metadata: record.config.metadata.clone(),
        state: sandbox_state(is_ready(inspect)).into(),
        created_at: created_at(record.created_at, time::nanoseconds(&inspect.created)),
        network: Some(cri::PodSandboxNetworkStatus {
            ip: addresses.next().unwrap_or_default(),
            additional_ips: addresses.map(|ip| cri::PodIp { ip }).collect(),
        }),
        linux: Some(cri::LinuxPodSandboxStatus {
            namespaces: Some(cri::Namespace {
                options: Some(options),
            }),
        }),
        labels: record.config.labels.clone(),
        annotations: record.config.annotations.clone(),
        runtime_handler: record.runtime_handler.clone(),
    }
}

/// The namespace modes of a sandbox without a record, from its host configuration. Whether its
/// containers share a process namespace cannot be told: `POD` and `CONTAINER` look the same there.
fn namespaces_of(inspect: &ContainerInspect) -> cri::NamespaceOption {
    let mode = |engine: &str, otherwise: cri::NamespaceMode| match engine {
        "host" => cri::NamespaceMode::Node.into(),
        _ => otherwise.into(),
    };
    let host = &inspect.host_config;
    cri::NamespaceOption {
        network: mode(&host.network_mode, cri::NamespaceMode::Pod),
        pid: mode(&host.pid_mode, cri::NamespaceMode::Container),
        ipc: mode(&host.ipc_mode, cri::NamespaceMode::Pod),
        ..Default::default()
    }
}

/// Whether a pause container runs, and is not frozen.
fn is_ready(inspect: &ContainerInspect) -> bool {
    inspect.state.running && inspect.state.status != "paused"
}

fn sandbox_state(ready: bool) -> cri::PodSandboxState {
    if ready {
        cri::PodSandboxState::SandboxReady
    } else {
        cri::PodSandboxState::SandboxNotready
    }
}

fn created_at(recorded: i64, engine: i64) -> i64 {
    if recorded == 0 { engine } else { recorded }
}

/// A container as the list shows it. The Engine lists one that failed to start as created, so the
/// caller tells these apart by `cannot_run`.
pub fn container_item(
    entry: &ContainerEntry,
    sandbox_id: &str,
    record: &ContainerRecord,
    cannot_run: bool,
) -> cri::Container {
    let state = if cannot_run {
        cri::ContainerState::ContainerExited
    } else {
        container_state(&entry.state)
    };
    cri::Container {
        id: entry.id.clone(),
        created_at: created_at(record.created_at, entry.created.saturating_mul(1_000_000_000)),
        ..container_of(state, sandbox_id, record, &entry.image, &entry.image_id)
    }
}

/// The same of one that was inspected.
pub fn container_item_inspected(
    inspect: &ContainerInspect,
    sandbox_id: &str,
    record: &ContainerRecord,
) -> cri::Container {
    cri::Container {
        id: inspect.id.clone(),
        created_at: created_at(record.created_at, time::nanoseconds(&inspect.created)),
        ..container_of(
            state(inspect),
            sandbox_id,
            record,
            &inspect.config.image,
            &inspect.image,
        )
    }
}

fn container_of(
    state: cri::ContainerState,
    sandbox_id: &str,
    record: &ContainerRecord,
    image: &str,
    image_id: &str,
) -> cri::Container {
    cri::Container {
        pod_sandbox_id: sandbox_id.into(),
        metadata: record.config.metadata.clone(),
        image: Some(image_spec(record, image)),
        image_ref: image_ref(record, image_id),
        image_id: image_id.into(),
        state: state.into(),
        labels: record.config.labels.clone(),
        annotations: record.config.annotations.clone(),
        ..Default::default()
    }
}

/// An inspected container's state.
pub fn state(inspect: &ContainerInspect) -> cri::ContainerState {
    if cannot_run(inspect) {
        cri::ContainerState::ContainerExited
    } else {
        container_state(&inspect.state.status)
    }
}

/// A container's whole status.
pub fn container(inspect: &ContainerInspect, record: &ContainerRecord) -> cri::ContainerStatus {
    let config = &record.config;
    let state = &inspect.state;
    let created_at = created_at(record.created_at, time::nanoseconds(&inspect.created));
    let mut status = cri::ContainerStatus {
        id: inspect.id.clone(),
        metadata: config.metadata.clone(),
        state: container_state(&state.status).into(),
        created_at,
        started_at: time::nanoseconds(&state.started_at),
        finished_at: time::nanoseconds(&state.finished_at),
        exit_code: state.exit_code,
        image: Some(image_spec(record, &inspect.config.image)),
        image_ref: image_ref(record, &inspect.image),
        image_id: inspect.image.clone(),
        message: state.error.clone(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        mounts: config.mounts.clone(),
        log_path: record.log_path.clone(),
        resources: Some(reported_resources(inspect, config)),
        stop_signal: signal::from_engine(&inspect.config.stop_signal),
        user: record
            .user
            .clone()
            .map(|linux| cri::ContainerUser { linux: Some(linux) }),
        ..Default::default()
    };
    match container_state(&state.status) {
        cri::ContainerState::ContainerCreated if cannot_run(inspect) => {
            status.state = cri::ContainerState::ContainerExited.into();
            status.reason = CANNOT_RUN.into();
            status.started_at = created_at;
            status.finished_at = created_at;
            if status.exit_code == 0 {
                // The kubelet would take it for a success.
                status.exit_code = CANNOT_RUN_CODE;
            }
        }
        cri::ContainerState::ContainerExited => {
            status.reason = match (state.oom_killed, state.exit_code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                (false, _) => "Error",
            }
            .into();
            // One that is removed before it ran has no end, and the kubelet wants one.
            if status.finished_at == 0 {
                status.finished_at = status.started_at.max(created_at);
            }
        }
        _ => status.finished_at = 0,
    }
    status
}

/// The Engine's present values, with those of the request that it does not know.
fn reported_resources(inspect: &ContainerInspect, config: &cri::ContainerConfig) -> cri::ContainerResources {
    let mut resources = resources::report(&inspect.host_config);
    let asked = config.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    if let (Some(reported), Some(asked)) = (resources.linux.as_mut(), asked) {
        reported.unified.clone_from(&asked.unified);
        reported.hugepage_limits.clone_from(&asked.hugepage_limits);
        // A limit below the Engine's minimum is set behind it, so the Engine reports the minimum.
        let limit = asked.memory_limit_in_bytes;
        if reported.memory_limit_in_bytes == resources::MINIMUM_MEMORY
            && (1..resources::MINIMUM_MEMORY).contains(&limit)
        {
            reported.memory_limit_in_bytes = limit;
            if reported.memory_swap_limit_in_bytes > 0 {
                reported.memory_swap_limit_in_bytes -= resources::MINIMUM_MEMORY - limit;
            }
        }
    }
    resources
}

/// Whether the Engine tried to start a container and could not.
pub fn cannot_run(inspect: &ContainerInspect) -> bool {
    inspect.state.status == "created" && (inspect.state.exit_code != 0 || !inspect.state.error.is_empty())
}

/// Whether a signal that cannot be caught has ended a container.
pub fn was_killed(inspect: &ContainerInspect) -> bool {
    const SIGKILL: i32 = 9;
    inspect.state.exit_code == 128 + SIGKILL
        && container_state(&inspect.state.status) == cri::ContainerState::ContainerExited
}

fn container_state(status: &str) -> cri::ContainerState {
    match status {
        "created" => cri::ContainerState::ContainerCreated,
        "running" | "paused" | "restarting" => cri::ContainerState::ContainerRunning,
        "exited" | "dead" | "removing" => cri::ContainerState::ContainerExited,
        _ => cri::ContainerState::ContainerUnknown,
    }
}

/// The image as it was asked for; the name that a person wrote goes before the id it resolved to.
fn image_spec(record: &ContainerRecord, engine: &str) -> cri::ImageSpec {
    let mut spec = record.config.image.clone().unwrap_or_default();
    if !spec.user_specified_image.is_empty() {
        spec.image.clone_from(&spec.user_specified_image);
    } else if spec.image.is_empty() {
        spec.image = engine.into();
    }
    spec
}

fn image_ref(record: &ContainerRecord, image_id: &str) -> String {
    if record.image_ref.is_empty() {
        image_id.into()
    } else {
        record.image_ref.clone()
    }
}

#[cfg(test)]
mod tests;
