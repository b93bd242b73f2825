//! A container's mounts.

use std::{collections::BTreeSet, iter};

use bollard_stubs::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountImageOptions, MountType,
};
use cri::MountPropagation;

use crate::{
    Invalid,
    facts::{ApiVersion, EngineFacts, HostView},
    paths,
};

/// How a refusal begins when recursive read-only mounts are not to be had; callers look for it.
pub const RRO_UNSUPPORTED: &str = "RROUnsupported";
/// How a refusal of an image volume begins; the kubelet makes it the reason it shows.
pub const IMAGE_VOLUME_MOUNT_FAILED: &str = "ImageVolumeMountFailed";

/// The Engine's list of mounts, in the request's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mounts {
    /// `HostConfig.Mounts`.
    pub mounts: Vec<Mount>,
    /// What the Engine does differently from what was asked, for the log.
    pub caveats: Vec<String>,
}

/// The host paths that must exist before the Engine is asked: the caller makes a directory of each
/// missing one, as Kubernetes runtimes do. The Engine's own `CreateMountpoint` is newer than its
/// oldest supported version, so it is not relied on.
pub fn sources(mounts: &[cri::Mount]) -> impl Iterator<Item = &str> {
    binds(mounts).map(|mount| mount.host_path.as_str())
}

/// The host paths that are to have the container's SELinux label, which the caller sees to.
///
/// The Engine would do it for `HostConfig.Binds` alone, which cannot say of a read-only mount that it is not
/// recursive, and take no path with a colon.
pub fn relabelled(mounts: &[cri::Mount]) -> impl Iterator<Item = &str> {
    binds(mounts)
        .filter(|mount| mount.selinux_relabel)
        .map(|mount| mount.host_path.as_str())
}

/// The mounts of host paths.
fn binds(mounts: &[cri::Mount]) -> impl Iterator<Item = &cri::Mount> {
    mounts.iter().filter(|mount| image(mount).is_none())
}

/// The images that are to be mounted: the caller looks their ids up into [`HostView::volume_images`], and
/// whether the paths in them exist, which the Engine would notice only at start.
pub fn images(mounts: &[cri::Mount]) -> impl Iterator<Item = ImageVolume<'_>> {
    mounts.iter().enumerate().filter_map(|(index, mount)| {
        Some(ImageVolume {
            index,
            image: image(mount)?,
            sub_path: &mount.image_sub_path,
        })
    })
}

/// An image that is to be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageVolume<'a> {
    /// The mount's place in the request.
    pub index: usize,
    /// The image's name or id.
    pub image: &'a str,
    /// What of it is mounted, relative to its root; empty for all of it.
    pub sub_path: &'a str,
}

impl ImageVolume<'_> {
    /// Refuses the mount: the kubelet shows a reason of its own for that.
    pub fn refuse(&self, field: &str, why: impl std::fmt::Display) -> Invalid {
        volume_error(field, why).within(&format!("config.mounts[{}]", self.index))
    }
}

fn volume_error(field: &str, why: impl std::fmt::Display) -> Invalid {
    Invalid::new(field, format!("{IMAGE_VOLUME_MOUNT_FAILED}: {why}"))
}

/// Whether the Engine can mount images.
pub fn image_volumes(facts: &EngineFacts) -> bool {
    facts.api >= ApiVersion::V1_48
}

/// The mounts of a container that runs under the OCI runtime `runtime` (empty: the Engine's default).
///
/// Read-only is not recursive unless the request says so, which the Engine must be told from API 1.44 on,
/// where it made the opposite its default.
pub fn container(
    mounts: &[cri::Mount],
    facts: &EngineFacts,
    host: &HostView,
    runtime: &str,
) -> Result<Mounts, Invalid> {
    let mut out = Mounts::default();
    let mut targets = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let within = |error: Invalid| error.within(&format!("config.mounts[{index}]"));
        check_target(mount).map_err(within)?;
        if !targets.insert(paths::clean(&mount.container_path)) {
            let why = format!(
                "{:?} is already the place of an earlier mount",
                mount.container_path
            );
            return Err(within(Invalid::new("container_path", why)));
        }
        check_common(mount).map_err(within)?;
        if let Some(image) = image(mount) {
            let image = image_mount(mount, image, &out.mounts, facts, host).map_err(within)?;
            out.mounts.push(image);
            continue;
        }
        let propagation = check_bind(mount, facts, runtime).map_err(within)?;
        if propagation.is_none() {
            out.caveats.push(format!(
                "mount {:?}: mounts made below {:?} on the node show up in the container, because the \
                 engine allows nothing stricter around its data directory {:?}",
                mount.container_path, mount.host_path, facts.root_dir
            ));
        }
        out.mounts.push(bind(mount, propagation, facts.api));
    }
    Ok(out)
}

/// Whether containers under `runtime` can have recursive read-only mounts: what the handler's features
/// report, and what a request is checked against, because the Engine would fail only at start.
pub fn recursive_read_only(facts: &EngineFacts, runtime: &str) -> bool {
    let name = if runtime.is_empty() {
        &facts.default_runtime
    } else {
        runtime
    };
    let rro = facts
        .runtimes
        .get(name)
        .and_then(|runtime| runtime.features.as_ref()?.get("mountOptions")?.as_array())
        .is_some_and(|options| options.iter().any(|option| option == "rro"));
    rro && facts.api >= ApiVersion::V1_44 && kernel(&facts.kernel) >= Some((5, 12))
}

/// The first two numbers of a kernel release such as `6.1.0-13-amd64`.
fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn image(mount: &cri::Mount) -> Option<&str> {
    let image = mount.image.as_ref()?.image.as_str();
    (!image.is_empty()).then_some(image)
}

/// Whether the Engine refuses a private bind of `source`: it keeps containers from holding on to its
/// own mounts. It compares texts rather than paths, and so does this.
fn around_data(source: &str, facts: &EngineFacts) -> bool {
    let clean = paths::clean(source);
    let root = facts.root_dir.as_str();
    !root.is_empty()
        && [source, &clean]
            .iter()
            .any(|source| source.starts_with(root) || root.starts_with(source))
}

fn check_target(mount: &cri::Mount) -> Result<(), Invalid> {
    paths::absolute(&mount.container_path, "container_path")?;
    if paths::clean(&mount.container_path) == "/" {
        return Err(Invalid::new(
            "container_path",
            "is the container's root, which cannot be mounted over",
        ));
    }
    Ok(())
}

/// What the Engine can do for no mount at all.
fn check_common(mount: &cri::Mount) -> Result<(), Invalid> {
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        let field = if mount.uid_mappings.is_empty() {
            "gidMappings"
        } else {
            "uidMappings"
        };
        return Err(Invalid::new(field, "Docker Engine cannot map the ids of a mount"));
    }
    if !mount.mount_options.is_empty() {
        let why = format!(
            "Docker Engine takes no mount options for binds (asked: {:?})",
            mount.mount_options
        );
        return Err(Invalid::new("mount_options", why));
    }
    Ok(())
}

fn propagation(mount: &cri::Mount) -> Result<MountPropagation, Invalid> {
    MountPropagation::try_from(mount.propagation).map_err(|_| {
        Invalid::new(
            "propagation",
            format!("{} is not a known propagation", mount.propagation),
        )
    })
}

/// The mount of an image: read-only and private, as CRI wants it.
fn image_mount(
    mount: &cri::Mount,
    image: &str,
    earlier: &[Mount],
    facts: &EngineFacts,
    host: &HostView,
) -> Result<Mount, Invalid> {
    if !image_volumes(facts) {
        let why = format!(
            "needs engine API {} (Engine 28.0), this one speaks {}",
            ApiVersion::V1_48,
            facts.api
        );
        return Err(volume_error("image", why));
    }
    if !mount.readonly {
        return Err(volume_error("readonly", "an image can only be mounted read-only"));
    }
    if !mount.host_path.is_empty() {
        return Err(volume_error("host_path", "is set beside an image"));
    }
    if propagation(mount)? != MountPropagation::PropagationPrivate {
        return Err(volume_error("propagation", "an image's mount is always private"));
    }
    let id = host.volume_images.get(image);
    let id = id.ok_or_else(|| volume_error("image", format!("there is no image {image:?}")))?;
    Ok(Mount {
        typ: Some(MountType::IMAGE),
        source: Some(unused_name(id, earlier).to_owned()),
        target: Some(mount.container_path.clone()),
        read_only: Some(true),
        image_options: sub_path(&mount.image_sub_path)?.map(|path| MountImageOptions { subpath: Some(path) }),
        ..Default::default()
    })
}

/// A name of the image `id` that no earlier mount of the container has. The Engine calls the mount of an image after the name in
/// the request, and refuses a second one of that name. The beginning of an id names the image too, so each further
/// mount of it takes one digit less.
fn unused_name<'a>(id: &'a str, earlier: &[Mount]) -> &'a str {
    /// As many digits as the Engine itself shows of an id.
    const FEWEST: usize = 12;
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    let shorter = (FEWEST..=digits.len())
        .rev()
        .filter_map(|length| digits.get(..length));
    let unused = |name: &&str| earlier.iter().all(|mount| mount.source.as_deref() != Some(*name));
    iter::once(id).chain(shorter).find(unused).unwrap_or(id)
}

/// The path below an image's root; `None` is the root itself.
fn sub_path(path: &str) -> Result<Option<String>, Invalid> {
    if path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == "..") {
        let why = format!("{path:?} is not a path that stays below the image's root");
        return Err(volume_error("image_sub_path", why));
    }
    Ok((!path.is_empty()).then(|| path.to_owned()))
}

/// Checks everything about one bind that does not depend on the others. The answer is the propagation
/// to ask for; `None` leaves it to the Engine, which then takes `rslave`.
fn check_bind(
    mount: &cri::Mount,
    facts: &EngineFacts,
    runtime: &str,
) -> Result<Option<MountBindOptionsPropagationEnum>, Invalid> {
    // `image_sub_path` says nothing here: the kubelet sets it for each volume's subPath, which is in `host_path` already.
    paths::absolute(&mount.host_path, "host_path")?;
    let propagation = propagation(mount)?;
    if mount.recursive_read_only {
        check_recursive(mount, propagation, facts, runtime)?;
    }
    Ok(match propagation {
        // Such as a hostPath of `/` or `/var/lib`, which Kubernetes allows.
        MountPropagation::PropagationPrivate if around_data(&mount.host_path, facts) => None,
        MountPropagation::PropagationPrivate => Some(MountBindOptionsPropagationEnum::RPRIVATE),
        MountPropagation::PropagationHostToContainer => Some(MountBindOptionsPropagationEnum::RSLAVE),
        MountPropagation::PropagationBidirectional => Some(MountBindOptionsPropagationEnum::RSHARED),
    })
}

fn check_recursive(
    mount: &cri::Mount,
    propagation: MountPropagation,
    facts: &EngineFacts,
    runtime: &str,
) -> Result<(), Invalid> {
    let refuse = |why: String| Err(Invalid::new("recursive_read_only", why));
    if !mount.readonly {
        return refuse("is set on a mount that is not readonly".to_owned());
    }
    if propagation != MountPropagation::PropagationPrivate {
        let name = propagation.as_str_name();
        return refuse(format!("needs the propagation PROPAGATION_PRIVATE, not {name}"));
    }
    if around_data(&mount.host_path, facts) {
        return refuse(format!(
            "{RRO_UNSUPPORTED}: the engine allows no private mount around its data directory {:?}, so what is \
             mounted there later would be writable",
            facts.root_dir
        ));
    }
    if !recursive_read_only(facts, runtime) {
        let name = if runtime.is_empty() {
            &facts.default_runtime
        } else {
            runtime
        };
        return refuse(format!(
            "{RRO_UNSUPPORTED}: needs engine API {} (this one speaks {}), kernel 5.12 (this is {:?}) and \
             a runtime with the mount option rro (runtime {name:?})",
            ApiVersion::V1_44,
            facts.api,
            facts.kernel
        ));
    }
    Ok(())
}

fn bind(mount: &cri::Mount, propagation: Option<MountBindOptionsPropagationEnum>, api: ApiVersion) -> Mount {
    // The Engine refuses the word on a writable mount, and an older one does not know it.
    let non_recursive = mount.readonly && !mount.recursive_read_only && api >= ApiVersion::V1_44;
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.host_path.clone()),
        target: Some(mount.container_path.clone()),
        read_only: Some(mount.readonly),
        bind_options: Some(MountBindOptions {
            propagation,
            read_only_non_recursive: non_recursive.then_some(true),
            read_only_force_recursive: mount.recursive_read_only.then_some(true),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
