#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::{
    facts::{ApiVersion, RuntimeFacts},
    security::tests::facts,
};

#[test]
fn the_kubelet_reads_three_parts_of_a_version() {
    let facts = EngineFacts {
        version: "28.5.2".to_owned(),
        api: ApiVersion::new(1, 51),
        ..facts()
    };
    let version = version(&facts);
    assert_eq!(version.version, "0.1.0");
    assert_eq!(version.runtime_name, "docker");
    assert_eq!(version.runtime_version, "28.5.2");
    assert_eq!(version.runtime_api_version, "1.51.0");
}

#[test]
fn the_cgroup_driver_is_told_where_there_is_one() {
    for (driver, expected) in [
        (CgroupDriver::Systemd, Some(cri::CgroupDriver::Systemd)),
        (CgroupDriver::Cgroupfs, Some(cri::CgroupDriver::Cgroupfs)),
        (CgroupDriver::None, None),
    ] {
        let facts = EngineFacts {
            cgroup_driver: driver,
            ..facts()
        };
        let told = runtime_config(&facts).linux.map(|linux| linux.cgroup_driver);
        assert_eq!(told, expected.map(i32::from), "{driver:?}");
    }
}

#[test]
fn conditions_say_why_they_are_false() {
    let conditions = |engine: Result<(), &str>, network: Result<(), &str>| {
        let status = status(engine.map_err(Into::into), network.map_err(Into::into), None);
        let flat = |c: cri::RuntimeCondition| (c.r#type, c.status, c.reason, c.message);
        status
            .status
            .unwrap()
            .conditions
            .into_iter()
            .map(flat)
            .collect::<Vec<_>>()
    };
    let condition = |kind: &str, ready: bool, reason: &str, message: &str| {
        (kind.to_owned(), ready, reason.to_owned(), message.to_owned())
    };
    assert_eq!(
        conditions(Ok(()), Ok(())),
        [
            condition("RuntimeReady", true, "", ""),
            condition("NetworkReady", true, "", "")
        ]
    );
    assert_eq!(
        conditions(Err("connection refused"), Err("no configuration")),
        [
            condition(
                "RuntimeReady",
                false,
                "DockerDaemonNotReady",
                "connection refused"
            ),
            condition("NetworkReady", false, "NetworkPluginNotReady", "no configuration"),
        ]
    );
}

#[test]
fn each_runtime_tells_its_own_features() {
    let rro = RuntimeFacts {
        features: Some(json!({"mountOptions": ["ro", "rro"]})),
    };
    let mut facts = facts();
    facts.default_runtime = "runc".to_owned();
    facts.runtimes = BTreeMap::from([
        ("runc".to_owned(), rro),
        ("kata".to_owned(), RuntimeFacts::default()),
    ]);
    let told = |facts: &EngineFacts| {
        let features = |handler: cri::RuntimeHandler| {
            let features = handler.features.unwrap();
            assert!(!features.user_namespaces);
            (handler.name, features.recursive_read_only_mounts)
        };
        status(Ok(()), Ok(()), Some(facts))
            .runtime_handlers
            .into_iter()
            .map(features)
            .collect::<Vec<_>>()
    };
    let named = |name: &str, rro| (name.to_owned(), rro);
    assert_eq!(
        told(&facts),
        [named("", true), named("kata", false), named("runc", true)]
    );
    facts.api = ApiVersion::FLOOR;
    assert_eq!(
        told(&facts),
        [named("", false), named("kata", false), named("runc", false)]
    );
    assert_eq!(status(Ok(()), Ok(()), None).runtime_handlers, []);
}

#[test]
fn the_shown_facts_are_json() {
    let info = info(&facts());
    let engine: serde_json::Value = serde_json::from_str(&info["engine"]).unwrap();
    assert_eq!(engine["cgroupDriver"], "cgroupfs");
    assert_eq!(engine["apiVersion"], ApiVersion::CEILING.to_string());
}
