//! What a translation must know besides the message: the Engine's abilities and the host's state.
//!
//! The daemon gathers both and passes them in, so a translation stays a function of its arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use crate::{
    accounts::Accounts,
    answer::{Info, Version},
};

/// A version of the Engine API, such as 1.41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Always 1 so far.
    pub major: u16,
    /// The part that features are told by.
    pub minor: u16,
}

impl ApiVersion {
    /// The oldest API served: Engine 20.10.
    pub const FLOOR: Self = Self::new(1, 41);
    /// The newest API tested: Engine 28.5.
    pub const CEILING: Self = Self::new(1, 51);
    /// `signal` on stop, `shared-size` on the image list (Engine 23.0).
    pub const V1_42: Self = Self::new(1, 42);
    /// Annotations for the OCI runtime (Engine 24.0).
    pub const V1_43: Self = Self::new(1, 43);
    /// Read-only binds become recursive unless told otherwise (Engine 25.0).
    pub const V1_44: Self = Self::new(1, 44);
    /// Mounts of images (Engine 28.0).
    pub const V1_48: Self = Self::new(1, 48);

    /// The version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self::new(major.parse().ok()?, minor.parse().ok()?))
        };
        parse().ok_or_else(|| format!("{text:?} is not an API version such as 1.41"))
    }
}

/// How the Engine creates cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// Through systemd units; parents are slices.
    Systemd,
    /// By making directories.
    Cgroupfs,
    /// Not at all (a rootless Engine without delegation).
    None,
}

/// One OCI runtime the Engine knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuntimeFacts {
    /// The runtime's own features document, as the Engine reports it from API 1.44 on.
    pub features: Option<serde_json::Value>,
}

/// What the Engine says of itself; changes only when it restarts or reloads.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineFacts {
    /// The Engine's version, such as `28.5.2`.
    pub version: String,
    /// The API version spoken with it.
    pub api: ApiVersion,
    /// The kernel release the Engine reports.
    pub kernel: String,
    /// How it creates cgroups.
    pub cgroup_driver: CgroupDriver,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// OCI runtimes by name.
    pub runtimes: BTreeMap<String, RuntimeFacts>,
    /// The runtime used when none is named.
    pub default_runtime: String,
    /// Where the Engine keeps its data.
    pub root_dir: String,
    /// The storage driver's name.
    pub storage_driver: String,
    /// Whether images live in containerd's store rather than the Engine's own.
    pub containerd_store: bool,
    /// containerd's socket; empty from Engines that do not tell (before 27.0).
    pub containerd_address: String,
    /// Whether devices are injected by CDI specifications.
    pub cdi: bool,
    /// Whether AppArmor profiles are applied.
    pub apparmor: bool,
    /// Whether SELinux labels are applied.
    pub selinux: bool,
    /// Whether seccomp profiles are applied.
    pub seccomp: bool,
    /// Whether the whole Engine runs containers in a remapped user namespace.
    pub userns_remap: bool,
}

impl EngineFacts {
    /// Gathers the facts from the Engine's own answers; `api` is the negotiated version.
    pub fn new(version: &Version, info: &Info, api: ApiVersion) -> Self {
        let option = |name: &str| {
            info.security_options.iter().any(|o| {
                o.split(',')
                    .any(|part| part.strip_prefix("name=").unwrap_or(part) == name)
            })
        };
        Self {
            version: version.version.clone(),
            api,
            kernel: info.kernel_version.clone(),
            cgroup_driver: match info.cgroup_driver.as_str() {
                "systemd" => CgroupDriver::Systemd,
                "none" => CgroupDriver::None,
                _ => CgroupDriver::Cgroupfs,
            },
            cgroup_version: if info.cgroup_version == "2" { 2 } else { 1 },
            runtimes: info
                .runtimes
                .iter()
                .map(|(name, runtime)| (name.clone(), RuntimeFacts { features: runtime.features() }))
                .collect(),
            default_runtime: info.default_runtime.clone(),
            root_dir: info.docker_root_dir.clone(),
            storage_driver: info.driver.clone(),
            containerd_store: info
                .driver_status
                .iter()
                .any(|pair| matches!(pair.as_slice(), [key, value] if key == "driver-type" && value.starts_with("io.containerd.snapshotter."))),
            containerd_address: info.containerd.address.clone(),
            // Empty where it is switched off.
            cdi: !info.cdi_spec_dirs.is_empty(),
            apparmor: option("apparmor"),
            selinux: option("selinux"),
            seccomp: option("seccomp"),
            userns_remap: option("userns"),
        }
    }
}

/// What the daemon read for one request, because a translation may not.
#[derive(Debug, Clone, Default)]
pub struct HostView {
    /// The text of the `Localhost` seccomp profile the request names, if it names one.
    pub seccomp_profile: Option<String>,
    /// The kernel's loaded AppArmor profiles; `None` where they cannot be told. Whether AppArmor is on at all the Engine
    /// says (see [`EngineFacts::apparmor`]).
    pub apparmor_profiles: Option<BTreeSet<String>>,
    /// The real paths of the requested devices' host paths, where these are symbolic links.
    pub device_links: BTreeMap<String, String>,
    /// Those of the requested devices' host paths that do not exist: the Engine would fail only at start.
    pub missing_devices: BTreeSet<String>,
    /// The SELinux label of the process of the sandbox that a container joins, as the Engine tells it;
    /// empty without SELinux.
    pub sandbox_label: String,
    /// `USER` of the image that a container is made from.
    pub image_user: String,
    /// The users and groups of that image.
    pub accounts: Accounts,
    /// The ids of the images that are to be mounted, by the names that the request gives them.
    pub volume_images: BTreeMap<String, String>,
    /// The capabilities of the Engine's process, a bit for each by the kernel's numbers; `None` where they are not known.
    pub engine_capabilities: Option<u64>,
    /// The lowest `oom_score_adj` that containers may be given here; `None` means no limit.
    pub oom_score_adj_floor: Option<i32>,
}
