//! Whatever a client may send, a translation is a plan or names the field it cannot honour.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod answers;
mod generate;
mod images;
mod plans;

use translate::{
    answer::{Info, Version},
    facts::{ApiVersion, EngineFacts},
};

/// A recent Engine on cgroup v2, with seccomp.
fn facts() -> EngineFacts {
    let info: Info = serde_json::from_str(
        r#"{
            "CDISpecDirs": ["/etc/cdi"],
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": "2",
            "KernelVersion": "6.1.0",
            "DockerRootDir": "/var/lib/docker",
            "SecurityOptions": ["name=seccomp,profile=builtin"],
            "DefaultRuntime": "runc",
            "Runtimes": {"runc": {}, "kata": {}}
        }"#,
    )
    .unwrap();
    EngineFacts::new(&Version::default(), &info, ApiVersion::CEILING)
}

/// Engines of every kind: the drivers, both cgroup versions, oldest and newest API, remapped or labelled.
fn all_facts() -> Vec<EngineFacts> {
    let mut old = facts();
    old.api = ApiVersion::FLOOR;
    old.cgroup_version = 1;
    old.seccomp = false;
    let mut systemd = facts();
    systemd.cgroup_driver = translate::facts::CgroupDriver::Systemd;
    systemd.selinux = true;
    systemd.apparmor = true;
    let mut rootless = facts();
    rootless.cgroup_driver = translate::facts::CgroupDriver::None;
    rootless.userns_remap = true;
    vec![facts(), old, systemd, rootless]
}
