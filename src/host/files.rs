//! Files of this node that a pod's configuration names.

use std::{collections::BTreeSet, io, path::Path};

use tokio::fs;
use translate::facts::HostView;

use crate::error::{Error, Result};

/// The kernel's list of loaded AppArmor profiles.
const APPARMOR_PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// A seccomp profile is larger than this by mistake only.
const MAX_PROFILE: u64 = 1 << 20;

/// Reads a seccomp profile; one that is not there is an error about the request, `None` here.
pub async fn seccomp_profile(path: &str) -> Result<Option<String>> {
    let read = async {
        let length = fs::metadata(path).await?.len();
        if length > MAX_PROFILE {
            return Err(io::Error::other(format!(
                "has {length} bytes, at most {MAX_PROFILE} are read"
            )));
        }
        fs::read_to_string(path).await
    };
    match read.await {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::host(format!("read the seccomp profile {path}"))(error)),
    }
}

/// The loaded AppArmor profiles; `None` where they cannot be read, which is so as well where AppArmor is off.
pub async fn apparmor_profiles() -> Option<BTreeSet<String>> {
    // Each line is a name and its mode, as in `docker-default (enforce)`.
    let text = fs::read_to_string(APPARMOR_PROFILES).await.ok()?;
    Some(
        text.lines()
            .filter_map(|line| line.rsplit_once(" ("))
            .map(|(name, _)| name.to_owned())
            .collect(),
    )
}

/// Notes which of `devices` are symbolic links, which the Engine does not follow, and which do not exist,
/// which it would notice only at start.
pub async fn look_at_devices(devices: impl Iterator<Item = &str>, host: &mut HostView) {
    for device in devices {
        let is_link = match fs::symlink_metadata(device).await {
            Ok(data) => data.file_type().is_symlink(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                host.missing_devices.insert(device.to_owned());
                continue;
            }
            // Whatever it is, the Engine will say it too.
            Err(_) => continue,
        };
        if !is_link {
            continue;
        }
        match fs::canonicalize(device).await {
            Ok(real) => {
                let real = real.to_string_lossy().into_owned();
                host.device_links.insert(device.to_owned(), real);
            }
            Err(_) => {
                host.missing_devices.insert(device.to_owned());
            }
        }
    }
}

/// Makes the directories that are to be mounted and are not there, as containerd does.
pub async fn make_mount_sources(paths: impl Iterator<Item = &str>) -> Result<()> {
    for path in paths {
        match fs::metadata(path).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path)
                    .await
                    .map_err(Error::host(format!("make the directory {path} to mount")))?;
            }
            Err(error) => {
                return Err(Error::host(format!("look at {path}, which is to be mounted"))(
                    error,
                ));
            }
        }
    }
    Ok(())
}

/// Makes a directory and its parents.
pub async fn make_directory(path: &str) -> Result<()> {
    fs::create_dir_all(path)
        .await
        .map_err(Error::host(format!("make the directory {path}")))
}

/// Writes a pod's `resolv.conf` over the one the Engine made; `None` copies the host's.
///
/// Written in place: the containers of the pod have this very file mounted.
pub async fn write_resolv_conf(path: &str, text: Option<&str>) -> Result<()> {
    const HOST: &str = "/etc/resolv.conf";
    let text = match text {
        Some(text) => text.to_owned(),
        None if Path::new(HOST).exists() => fs::read_to_string(HOST)
            .await
            .map_err(Error::host(format!("read {HOST}")))?,
        None => return Ok(()),
    };
    fs::write(path, text)
        .await
        .map_err(Error::host(format!("write the pod's resolv.conf at {path}")))
}
