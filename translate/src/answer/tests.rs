#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// Reads an answer, which has to be readable.
fn whole<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// An answer with every key null, one with none, and one with keys nobody knows are all the same.
fn reads_nothing<T: DeserializeOwned + Default + PartialEq + std::fmt::Debug>(sample: &Value) {
    let nothing = T::default();
    assert_ne!(whole::<T>(sample), nothing, "the sample has to say something");
    assert_eq!(whole::<T>(&json!({})), nothing);
    assert_eq!(whole::<T>(&json!({"Invented": {"A": [1]}, "": null})), nothing);
    let mut nulls = sample.clone();
    for value in nulls.as_object_mut().unwrap().values_mut() {
        *value = Value::Null;
    }
    assert_eq!(whole::<T>(&nulls), nothing);
    for key in sample.as_object().unwrap().keys() {
        let mut one = sample.clone();
        one[key] = Value::Null;
        assert_ne!(whole::<T>(&one), whole::<T>(sample), "{key} is read");
        one[key] = sample[key].clone();
        one["Invented"] = json!(1);
        assert_eq!(whole::<T>(&one), whole::<T>(sample));
    }
}

fn inspect() -> Value {
    json!({
        "Id": "c0ffee",
        "Name": "/k8s_a",
        "Created": "2026-01-01T00:00:00Z",
        "Image": "sha256:1d",
        "State": {"Status": "running"},
        "Config": {"Image": "busybox"},
        "HostConfig": {"Runtime": "runc"},
        "NetworkSettings": {"SandboxKey": "/var/run/docker/netns/x"},
        "ResolvConfPath": "/r",
        "LogPath": "/l",
        "ProcessLabel": "u:r:t:s0",
        "RestartCount": 1,
    })
}

#[test]
fn any_field_may_be_null_or_absent_and_others_may_be_there() {
    reads_nothing::<Version>(&json!({"Version": "28.5.2", "ApiVersion": "1.51"}));
    reads_nothing::<Info>(&json!({
        "CgroupDriver": "systemd",
        "CgroupVersion": "2",
        "KernelVersion": "6.1",
        "DockerRootDir": "/var/lib/docker",
        "Driver": "overlay2",
        "DriverStatus": [["a", "b"]],
        "SecurityOptions": ["name=seccomp"],
        "Runtimes": {"runc": {"path": "runc"}},
        "DefaultRuntime": "runc",
        "Containerd": {"Address": "/run/containerd/containerd.sock"},
    }));
    reads_nothing::<ContainerEntry>(&json!({
        "Id": "c0ffee",
        "Names": ["/k8s_a"],
        "Image": "busybox",
        "ImageID": "sha256:1d",
        "Created": 1,
        "State": "running",
        "Labels": {"a": "b"},
    }));
    reads_nothing::<ContainerInspect>(&inspect());
    reads_nothing::<ContainerState>(&json!({
        "Status": "exited",
        "Running": true,
        "OOMKilled": true,
        "Pid": 7,
        "ExitCode": 137,
        "Error": "e",
        "StartedAt": "2026-01-01T00:00:00Z",
        "FinishedAt": "2026-01-01T00:00:00Z",
    }));
    reads_nothing::<ContainerConfig>(&json!({
        "Image": "busybox",
        "Labels": {"a": "b"},
        "User": "1",
        "StopSignal": "SIGTERM",
        "Tty": true,
        "OpenStdin": true,
        "StdinOnce": true,
    }));
    reads_nothing::<HostConfig>(&json!({
        "Runtime": "runc",
        "NetworkMode": "none",
        "PidMode": "host",
        "IpcMode": "shareable",
        "CpuShares": 2,
        "CpuPeriod": 1000,
        "CpuQuota": -1,
        "CpusetCpus": "0",
        "CpusetMems": "0",
        "Memory": 1,
        "MemorySwap": -1,
        "OomScoreAdj": -998,
        "CgroupParent": "/a",
    }));
    reads_nothing::<NetworkSettings>(&json!({"SandboxKey": "/n", "Networks": {"none": {}}}));
    reads_nothing::<EndpointSettings>(&json!({"IPAddress": "10.0.0.2", "GlobalIPv6Address": "fd00::2"}));
    reads_nothing::<ImageEntry>(&json!({
        "Id": "sha256:1d",
        "RepoTags": ["a:1"],
        "RepoDigests": ["a@sha256:d"],
        "Size": 1,
        "Labels": {"a": "b"},
    }));
    reads_nothing::<ImageInspect>(&json!({
        "Id": "sha256:1d",
        "RepoTags": ["a:1"],
        "RepoDigests": ["a@sha256:d"],
        "Size": 1,
        "Config": {"User": "1"},
        "Created": "2026-01-01T00:00:00Z",
        "Author": "a",
        "Architecture": "amd64",
        "Variant": "v8",
        "Os": "linux",
        "RootFS": {"Type": "layers"},
    }));
    reads_nothing::<ImageConfig>(&json!({
        "User": "1",
        "ExposedPorts": {"80/tcp": {}},
        "Env": ["A=b"],
        "Entrypoint": ["/a"],
        "Cmd": ["b"],
        "Volumes": {"/v": {}},
        "WorkingDir": "/",
        "Labels": {"a": "b"},
        "StopSignal": "SIGTERM",
    }));
    reads_nothing::<RootFs>(&json!({"Type": "layers", "Layers": ["sha256:a"]}));
    reads_nothing::<ExecInspect>(&json!({"Running": true, "ExitCode": 0, "Pid": 7}));
    reads_nothing::<InfoRuntime>(&json!({"path": "runc", "status": {"a": "b"}}));
}

#[test]
fn a_null_within_a_list_or_a_map_is_nothing_rather_than_an_error() {
    let settings: NetworkSettings = whole(&json!({"Networks": {"bridge": null, "a": {"IPAddress": null}}}));
    assert_eq!(
        settings.networks,
        BTreeMap::from([
            ("bridge".to_owned(), EndpointSettings::default()),
            ("a".to_owned(), EndpointSettings::default()),
        ])
    );
    let info: Info = whole(&json!({
        "Runtimes": {"runc": null, "kata": {"status": {"k": null}}},
        "DriverStatus": [null, ["driver-type", null]],
    }));
    assert_eq!(info.runtimes.keys().collect::<Vec<_>>(), ["kata", "runc"]);
    assert_eq!(
        info.driver_status,
        [vec![], vec!["driver-type".to_owned(), String::new()]]
    );
    let list: Vec<ContainerEntry> = whole(&json!([{"Id": "a", "Names": [null], "Labels": {"k": null}}]));
    assert_eq!(list[0].labels["k"], "");
}

#[test]
fn words_nobody_knows_are_kept_as_they_are() {
    let mut answer = inspect();
    answer["State"] = json!({"Status": "hibernating", "Health": {"Status": "new"}});
    answer["HostConfig"]["NetworkMode"] = json!("quantum");
    let inspect: ContainerInspect = whole(&answer);
    assert_eq!(inspect.state.status, "hibernating");
    assert_eq!(inspect.host_config.network_mode, "quantum");
    let info: Info = whole(&json!({"CgroupDriver": "new", "CgroupVersion": "3"}));
    let facts = crate::facts::EngineFacts::new(&Version::default(), &info, crate::facts::ApiVersion::FLOOR);
    assert_eq!(facts.cgroup_driver, crate::facts::CgroupDriver::Cgroupfs);
    assert_eq!(facts.cgroup_version, 1);
}

#[test]
fn a_value_of_another_kind_is_an_error_and_never_an_empty_answer() {
    for wrong in [
        json!({"Id": 7}),
        json!({"Names": "a"}),
        json!({"Created": "yesterday"}),
        json!({"Labels": ["a"]}),
    ] {
        assert!(
            serde_json::from_value::<ContainerEntry>(wrong.clone()).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn features_of_a_runtime_are_json_or_absent() {
    let runtime = |text: &str| InfoRuntime {
        status: BTreeMap::from([("org.opencontainers.runtime-spec.features".into(), text.into())]),
        ..InfoRuntime::default()
    };
    assert_eq!(runtime(r#"{"a":1}"#).features(), Some(json!({"a": 1})));
    assert_eq!(runtime("not json").features(), None);
    assert_eq!(InfoRuntime::default().features(), None);
}
