//! Device nodes and CDI devices of a container.

use bollard_stubs::models::{DeviceMapping, DeviceRequest};
use cri::{CdiDevice, Device};

use crate::{
    Invalid,
    facts::{ApiVersion, EngineFacts, HostView},
    paths,
};

/// The host paths whose symbolic links the caller resolves into [`HostView::device_links`].
pub fn sources(devices: &[Device]) -> impl Iterator<Item = &str> {
    devices.iter().map(|device| device.host_path.as_str())
}

/// `HostConfig.Devices`, in the request's order.
///
/// The Engine looks at the node itself and takes no symbolic link, so links are replaced by what
/// they point at; inside the container the device keeps the name that was asked for.
pub fn container(devices: &[Device], host: &HostView) -> Result<Vec<DeviceMapping>, Invalid> {
    let mapping = |(index, device): (usize, &Device)| {
        let field = |name: &str| format!("config.devices[{index}].{name}");
        paths::absolute(&device.host_path, &field("host_path"))?;
        paths::absolute(&device.container_path, &field("container_path"))?;
        if host.missing_devices.contains(&device.host_path) {
            let why = format!("there is no {:?} on the node", device.host_path);
            return Err(Invalid::new(field("host_path"), why));
        }
        let source = host
            .device_links
            .get(&device.host_path)
            .unwrap_or(&device.host_path);
        Ok(DeviceMapping {
            path_on_host: Some(source.clone()),
            path_in_container: Some(device.container_path.clone()),
            cgroup_permissions: Some(permissions(&device.permissions, &field("permissions"))?),
        })
    };
    devices.iter().enumerate().map(mapping).collect()
}

/// Any of r, w and m, each at most once; none means all.
fn permissions(text: &str, field: &str) -> Result<String, Invalid> {
    if text.is_empty() {
        return Ok("rwm".to_owned());
    }
    let once = |c: char| "rwm".contains(c) && text.matches(c).count() == 1;
    if text.chars().all(once) {
        Ok(text.to_owned())
    } else {
        Err(Invalid::new(
            field,
            format!("{text:?} is not made of r, w and m, each at most once"),
        ))
    }
}

/// `HostConfig.DeviceRequests` for devices that a CDI specification describes.
///
/// The Engine knows the `cdi` driver from API 1.44 on (and up to 28.1 only where `features.cdi`
/// is set); on an older one the request would be taken for a GPU's, and fail at start where it is off.
pub fn cdi(devices: &[CdiDevice], facts: &EngineFacts) -> Result<Vec<DeviceRequest>, Invalid> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    if facts.api < ApiVersion::V1_44 {
        return Err(Invalid::new(
            "config.CDI_devices",
            format!(
                "CDI needs engine API {} (Engine 25.0), this one speaks {}",
                ApiVersion::V1_44,
                facts.api
            ),
        ));
    }
    if !facts.cdi {
        let why = "CDI is off in the docker engine; set features.cdi to true in its daemon.json";
        return Err(Invalid::new("config.CDI_devices", why));
    }
    let mut ids: Vec<String> = Vec::with_capacity(devices.len());
    for (index, device) in devices.iter().enumerate() {
        if !qualified(&device.name) {
            return Err(Invalid::new(
                format!("config.CDI_devices[{index}].name"),
                format!("{:?} is not of the form vendor/class=device", device.name),
            ));
        }
        if !ids.contains(&device.name) {
            ids.push(device.name.clone());
        }
    }
    Ok(vec![DeviceRequest {
        driver: Some("cdi".to_owned()),
        device_ids: Some(ids),
        ..Default::default()
    }])
}

/// Whether `name` is `vendor/class=device`.
fn qualified(name: &str) -> bool {
    let parts = name
        .split_once('=')
        .and_then(|(kind, device)| Some((kind.split_once('/')?, device)));
    parts.is_some_and(|((vendor, class), device)| {
        let word = |w: &str, extra: &[u8]| {
            !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
        };
        word(vendor, b"_-.") && word(class, b"_-.") && word(device, b"_-.:")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::security::tests::facts;

    fn device(host: &str, container: &str, permissions: &str) -> Device {
        Device {
            host_path: host.to_owned(),
            container_path: container.to_owned(),
            permissions: permissions.to_owned(),
        }
    }

    #[test]
    fn maps_in_order_and_resolves_links() {
        let mut host = HostView::default();
        host.device_links
            .insert("/dev/disk/by-id/x".to_owned(), "/dev/sda".to_owned());
        let devices = [
            device("/dev/disk/by-id/x", "/dev/x", ""),
            device("/dev/fuse", "/dev/fuse", "mr"),
        ];
        let mapped = container(&devices, &host).unwrap();
        let flat: Vec<_> = mapped
            .iter()
            .map(|d| {
                let text = |s: &Option<String>| s.clone().unwrap();
                [
                    text(&d.path_on_host),
                    text(&d.path_in_container),
                    text(&d.cgroup_permissions),
                ]
            })
            .collect();
        assert_eq!(
            flat,
            [["/dev/sda", "/dev/x", "rwm"], ["/dev/fuse", "/dev/fuse", "mr"]]
        );
        assert_eq!(
            sources(&devices).collect::<Vec<_>>(),
            ["/dev/disk/by-id/x", "/dev/fuse"]
        );
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut host = HostView::default();
        host.missing_devices.insert("/dev/none".to_owned());
        let error = container(&[device("/dev/none", "/dev/x", "")], &host).unwrap_err();
        assert_eq!(error.field, "config.devices[0].host_path");
    }

    #[test]
    fn refuses() {
        for (bad, field) in [
            (device("", "/dev/x", ""), "config.devices[1].host_path"),
            (device("dev/x", "/dev/x", ""), "config.devices[1].host_path"),
            (device("/dev/x", "x", "r"), "config.devices[1].container_path"),
            (device("/dev/x", "/dev/x", "rx"), "config.devices[1].permissions"),
            (device("/dev/x", "/dev/x", "rr"), "config.devices[1].permissions"),
            (device("/dev/x", "/dev/x", "é"), "config.devices[1].permissions"),
        ] {
            let devices = [device("/dev/ok", "/dev/ok", "r"), bad];
            assert_eq!(
                container(&devices, &HostView::default()).unwrap_err().field,
                field
            );
        }
    }

    #[test]
    fn cdi_is_one_request() {
        let named = |name: &str| CdiDevice {
            name: name.to_owned(),
        };
        let mut facts = facts();
        let names = [
            named("vendor.com/gpu=0"),
            named("vendor.com/gpu=all"),
            named("vendor.com/gpu=0"),
        ];
        let requests = cdi(&names, &facts).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].driver.as_deref(), Some("cdi"));
        assert_eq!(
            requests[0].device_ids.as_deref().unwrap(),
            ["vendor.com/gpu=0", "vendor.com/gpu=all"]
        );
        assert_eq!(requests[0].count, None, "the engine refuses a count with cdi");

        for bad in [
            "",
            "gpu=0",
            "vendor.com/gpu",
            "/gpu=0",
            "vendor.com/gpu=",
            "a/b=c d",
        ] {
            let error = cdi(&[named(bad)], &facts).unwrap_err();
            assert_eq!(error.field, "config.CDI_devices[0].name", "{bad:?}");
        }
        facts.cdi = false;
        assert!(cdi(&names, &facts).unwrap_err().why.contains("daemon.json"));
        facts.api = ApiVersion::FLOOR;
        assert!(cdi(&names, &facts).unwrap_err().why.contains("1.44"));
        assert_eq!(cdi(&[], &facts), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn never_panics(host in ".*", path in ".*", permissions in ".*", name in ".*") {
            let _ = container(&[device(&host, &path, &permissions)], &HostView::default());
            let _ = cdi(&[CdiDevice { name }], &facts());
        }
    }
}
