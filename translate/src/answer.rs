//! The Engine's answers, as far as they are read here.
//!
//! Tolerant on purpose: every field may be absent or null and every enumeration is a string, so an
//! Engine that is newer or older than expected never makes a list or a status fail.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Reads a value that may be null as its default.
fn or_default<'de, D: Deserializer<'de>, T: Tolerant<'de>>(from: D) -> Result<T, D::Error> {
    T::read(from)
}

/// A value of which any part may be null.
trait Tolerant<'de>: Sized {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;
}

macro_rules! tolerant {
    ($($type:ty)*) => {$(
        impl<'de> Tolerant<'de> for $type {
            fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Option::deserialize(from)?.unwrap_or_default())
            }
        }
    )*};
}

tolerant!(bool i32 i64 String Option<i32> serde_json::Value InfoRuntime);

/// Lets what is [`Tolerant`] stand in a list or a map.
struct Part<T>(T);

impl<'de, T: Tolerant<'de>> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Self)
    }
}

/// A null in a list is read as the default like any other, so that no other part changes its place.
impl<'de, T: Tolerant<'de>> Tolerant<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parts = Option::<Vec<Part<T>>>::deserialize(from)?.unwrap_or_default();
        Ok(parts.into_iter().map(|part| part.0).collect())
    }
}

/// A key without a value, as a network that is not connected, is still a key.
impl<'de, T: Tolerant<'de>> Tolerant<'de> for BTreeMap<String, T> {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parts = Option::<BTreeMap<String, Part<T>>>::deserialize(from)?.unwrap_or_default();
        Ok(parts.into_iter().map(|(key, part)| (key, part.0)).collect())
    }
}

macro_rules! answer {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $(
                #[serde(deserialize_with = "or_default")]
                $(#[$field_meta])*
                pub $field: $type,
            )*
        }

        tolerant!($name);
    )*};
}

answer! {
    /// `GET /version`.
    Version {
        /// The Engine's version.
        version: String,
        /// The newest API version it speaks.
        api_version: String,
    }

    /// `GET /info`.
    Info {
        /// `systemd`, `cgroupfs` or `none`.
        cgroup_driver: String,
        /// `1` or `2`.
        cgroup_version: String,
        /// The running kernel's release.
        kernel_version: String,
        /// The data directory.
        docker_root_dir: String,
        /// The storage driver's name.
        driver: String,
        /// Pairs of key and value that describe the storage driver.
        driver_status: Vec<Vec<String>>,
        /// Such as `name=seccomp,profile=default`.
        security_options: Vec<String>,
        /// OCI runtimes by name.
        runtimes: BTreeMap<String, InfoRuntime>,
        /// The runtime used when none is named.
        default_runtime: String,
        /// containerd as the Engine uses it.
        containerd: InfoContainerd,
        /// Where CDI specifications are looked for, from API 1.44 on.
        #[serde(rename = "CDISpecDirs")]
        cdi_spec_dirs: Vec<String>,
    }

    /// containerd as the Engine uses it, in `GET /info` from API 1.46 on.
    InfoContainerd {
        /// Its socket.
        address: String,
    }

    /// One container of `GET /containers/json`.
    ContainerEntry {
        /// The full id.
        id: String,
        /// With leading slashes.
        names: Vec<String>,
        /// The image as it was named at creation.
        image: String,
        /// The image's id.
        #[serde(rename = "ImageID")]
        image_id: String,
        /// Seconds since the epoch.
        created: i64,
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        state: String,
        /// All labels, the image's own included.
        labels: BTreeMap<String, String>,
        /// What the list tells of the host configuration.
        host_config: EntryHostConfig,
    }

    /// A container's host configuration, as the list has it.
    EntryHostConfig {
        /// As in [`HostConfig`].
        network_mode: String,
    }

    /// `GET /containers/{id}/json`.
    ContainerInspect {
        /// The full id.
        id: String,
        /// With a leading slash.
        name: String,
        /// RFC 3339 with nanoseconds.
        created: String,
        /// The image's id.
        image: String,
        /// The run state.
        state: ContainerState,
        /// The part of the configuration that moves with the image.
        config: ContainerConfig,
        /// The part that belongs to this host.
        host_config: HostConfig,
        /// Addresses and the network namespace.
        network_settings: NetworkSettings,
        /// The `resolv.conf` that the container sees.
        resolv_conf_path: String,
        /// The json-file driver's log, or empty.
        log_path: String,
        /// The SELinux label of its processes.
        process_label: String,
        /// The SELinux label of what is mounted in it; empty where it has none.
        mount_label: String,
        /// How often the Engine restarted it.
        restart_count: i64,
    }

    /// A container's run state.
    ContainerState {
        /// As in the list.
        status: String,
        /// True also while paused.
        running: bool,
        /// Whether the kernel killed a process of it for memory.
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        /// The first process's host pid, or 0.
        pid: i32,
        /// The exit status, 128 + n for a signal.
        exit_code: i32,
        /// Why it could not be started.
        error: String,
        /// RFC 3339, year 1 if never.
        started_at: String,
        /// RFC 3339, year 1 if never.
        finished_at: String,
    }

    /// A container's portable configuration.
    ContainerConfig {
        /// The image it was created from, as it was named then.
        image: String,
        /// All labels.
        labels: BTreeMap<String, String>,
        /// `USER`.
        user: String,
        /// The effective stop signal, image's included.
        stop_signal: String,
        /// Whether it has a terminal.
        tty: bool,
        /// Whether its stdin is open.
        open_stdin: bool,
        /// Whether its stdin ends with its first client.
        stdin_once: bool,
    }

    /// A container's host configuration: what ContainerStatus reports of it.
    HostConfig {
        /// The OCI runtime.
        runtime: String,
        /// `none`, `host`, `container:<id>` or a network's name.
        network_mode: String,
        /// `host`, `container:<id>` or empty.
        pid_mode: String,
        /// `host`, `shareable`, `private` or `container:<id>`.
        ipc_mode: String,
        /// Relative CPU weight.
        cpu_shares: i64,
        /// CFS period in microseconds.
        cpu_period: i64,
        /// CFS quota in microseconds.
        cpu_quota: i64,
        /// CPUs, as a list of ranges.
        cpuset_cpus: String,
        /// Memory nodes, as a list of ranges.
        cpuset_mems: String,
        /// Bytes, 0 for no limit.
        memory: i64,
        /// Bytes of memory and swap together, -1 for no limit.
        memory_swap: i64,
        /// -1000 to 1000.
        oom_score_adj: i64,
        /// The cgroup's parent.
        cgroup_parent: String,
    }

    /// A container's networks.
    NetworkSettings {
        /// The network namespace's file.
        sandbox_key: String,
        /// Addresses by network name.
        networks: BTreeMap<String, EndpointSettings>,
    }

    /// A container's place in one network.
    EndpointSettings {
        /// IPv4, or empty.
        #[serde(rename = "IPAddress")]
        ip_address: String,
        /// IPv6, or empty.
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
    }

    /// One image of `GET /images/json`.
    ImageEntry {
        /// With the digest's algorithm.
        id: String,
        /// `name:tag`.
        repo_tags: Vec<String>,
        /// `name@digest`.
        repo_digests: Vec<String>,
        /// Bytes.
        size: i64,
        /// The image's labels.
        labels: BTreeMap<String, String>,
    }

    /// `GET /images/{name}/json`.
    ImageInspect {
        /// With the digest's algorithm.
        id: String,
        /// `name:tag`.
        repo_tags: Vec<String>,
        /// `name@digest`.
        repo_digests: Vec<String>,
        /// Bytes.
        size: i64,
        /// What the image says of its containers.
        config: ImageConfig,
        /// RFC 3339; absent where the image states none.
        created: String,
        /// Who made it.
        author: String,
        /// Such as `amd64`.
        architecture: String,
        /// Such as `v8`.
        variant: String,
        /// Such as `linux`.
        os: String,
        /// Its layers.
        #[serde(rename = "RootFS")]
        root_fs: RootFs,
    }

    /// What an image says of the containers made from it.
    ImageConfig {
        /// `USER`.
        user: String,
        /// Such as `8080/tcp`; the values are empty.
        exposed_ports: BTreeMap<String, serde_json::Value>,
        /// `NAME=value`.
        env: Vec<String>,
        /// `ENTRYPOINT`.
        entrypoint: Vec<String>,
        /// `CMD`.
        cmd: Vec<String>,
        /// Paths; the values are empty.
        volumes: BTreeMap<String, serde_json::Value>,
        /// `WORKDIR`.
        working_dir: String,
        /// `LABEL`.
        labels: BTreeMap<String, String>,
        /// `STOPSIGNAL`.
        stop_signal: String,
    }

    /// An image's layers.
    RootFs {
        /// Always `layers`.
        #[serde(rename = "Type")]
        kind: String,
        /// The digests of the unpacked layers, the lowest first.
        layers: Vec<String>,
    }

    /// One step of `GET /images/{name}/history`.
    HistoryEntry {
        /// Bytes that its layer takes unpacked; 0 where it made none.
        size: i64,
    }

    /// One event of `GET /events`.
    Event {
        /// The sort of object, such as `container` or `image`.
        #[serde(rename = "Type")]
        kind: String,
        /// What became of it, such as `start`.
        action: String,
        /// Which object.
        actor: EventActor,
    }

    /// The object of an event.
    EventActor {
        /// A container's id; of an image its id or a name.
        #[serde(rename = "ID")]
        id: String,
        /// A container's labels are among them.
        attributes: BTreeMap<String, String>,
    }

    /// `GET /exec/{id}/json`.
    ExecInspect {
        /// Whether its process runs.
        running: bool,
        /// The exit status once it does not.
        exit_code: Option<i32>,
        /// The host pid of its process, or 0.
        pid: i32,
    }
}

/// One OCI runtime of `GET /info`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct InfoRuntime {
    /// The binary.
    #[serde(deserialize_with = "or_default")]
    pub path: String,
    /// Key to text, from API 1.44 on.
    #[serde(deserialize_with = "or_default")]
    pub status: BTreeMap<String, String>,
}

impl InfoRuntime {
    /// The OCI features document, where the Engine reports one that is JSON.
    pub fn features(&self) -> Option<serde_json::Value> {
        serde_json::from_str(self.status.get("org.opencontainers.runtime-spec.features")?).ok()
    }
}

#[cfg(test)]
mod tests;
