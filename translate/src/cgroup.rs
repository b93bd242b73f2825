//! The pod's cgroup as the Engine takes it.

use crate::{Invalid, facts::CgroupDriver, paths};

const FIELD: &str = "config.linux.cgroup_parent";

/// `HostConfig.CgroupParent` for a pod whose kubelet says `path`; `None` leaves it to the Engine.
///
/// With the systemd driver the kubelet sends the whole path of slices, while the Engine wants the
/// name of the last one and works out its parents from the dashes. A path of the other driver's
/// shape means that kubelet and Engine disagree on the driver: two managers would then write one
/// tree, so it is refused here, where the cause can still be named.
pub fn parent(path: &str, driver: CgroupDriver) -> Result<Option<String>, Invalid> {
    if path.is_empty() {
        return Ok(None);
    }
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err(Invalid::new(FIELD, format!("{path:?} is not a plain path")));
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let slice = last.strip_suffix(".slice").is_some_and(|name| !name.is_empty());
    match driver {
        CgroupDriver::Systemd if slice => Ok(Some(last.to_owned())),
        CgroupDriver::Systemd => Err(Invalid::new(
            FIELD,
            format!(
                "{path:?} does not end in a .slice, but the engine's cgroup driver is systemd; \
                 set the kubelet's cgroupDriver to systemd"
            ),
        )),
        CgroupDriver::Cgroupfs if slice => Err(Invalid::new(
            FIELD,
            format!(
                "{path:?} is a systemd slice, but the engine's cgroup driver is cgroupfs; set the \
                 kubelet's cgroupDriver to cgroupfs or the engine's to systemd"
            ),
        )),
        CgroupDriver::Cgroupfs => {
            paths::absolute(path, FIELD)?;
            Ok(Some(path.to_owned()))
        }
        // An Engine without cgroups has no place to put anything under.
        CgroupDriver::None => Ok(None),
    }
}

/// What becomes of a parent where the Engine makes no cgroups, for the log.
pub fn caveat(path: &str, driver: CgroupDriver) -> Option<String> {
    (driver == CgroupDriver::None && !path.is_empty())
        .then(|| format!("cgroup parent {path:?}: passed over, the engine makes no cgroups"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_the_shape_of_the_driver() {
        use CgroupDriver::{Cgroupfs, None as NoDriver, Systemd};
        for (path, driver, expected) in [
            ("", Systemd, None),
            ("", Cgroupfs, None),
            ("/test.slice", Systemd, Some("test.slice")),
            ("test.slice", Systemd, Some("test.slice")),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/",
                Systemd,
                Some("kubepods-burstable-pod1_2.slice"),
            ),
            (
                "/kubepods/burstable/pod1-2",
                Cgroupfs,
                Some("/kubepods/burstable/pod1-2"),
            ),
            (
                "/my.slice/kubepods/pod1",
                Cgroupfs,
                Some("/my.slice/kubepods/pod1"),
            ),
            ("/kubepods/pod1", NoDriver, None),
        ] {
            assert_eq!(
                parent(path, driver).unwrap().as_deref(),
                expected,
                "{path} {driver:?}"
            );
        }
    }

    #[test]
    fn names_the_other_driver() {
        for (path, driver, hint) in [
            ("/kubepods/pod1", CgroupDriver::Systemd, "cgroupDriver to systemd"),
            ("/.slice", CgroupDriver::Systemd, "cgroupDriver to systemd"),
            ("/", CgroupDriver::Systemd, "cgroupDriver to systemd"),
            (
                "/kubepods.slice",
                CgroupDriver::Cgroupfs,
                "cgroupDriver to cgroupfs",
            ),
            ("kubepods/pod1", CgroupDriver::Cgroupfs, "absolute"),
            ("/kubepods/../../x", CgroupDriver::Cgroupfs, "plain path"),
            ("/a/../b.slice", CgroupDriver::Systemd, "plain path"),
        ] {
            let error = parent(path, driver).unwrap_err();
            assert_eq!(error.field, FIELD);
            assert!(error.why.contains(hint), "{path}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(path in ".*") {
            for driver in [CgroupDriver::Systemd, CgroupDriver::Cgroupfs, CgroupDriver::None] {
                if let Ok(Some(parent)) = parent(&path, driver) {
                    prop_assert!(!parent.is_empty());
                }
            }
        }
    }
}
