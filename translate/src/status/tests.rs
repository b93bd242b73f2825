#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::answer::{ContainerConfig, ContainerState};

fn inspect(state: ContainerState) -> ContainerInspect {
    ContainerInspect {
        id: "c0ffee".into(),
        created: "2026-01-01T00:00:00.000000005Z".into(),
        image: "sha256:1d".into(),
        config: ContainerConfig {
            image: "busybox".into(),
            stop_signal: "SIGQUIT".into(),
            ..Default::default()
        },
        state,
        ..Default::default()
    }
}

fn state(status: &str, exit_code: i32) -> ContainerState {
    ContainerState {
        status: status.into(),
        exit_code,
        started_at: "2026-01-01T00:00:01Z".into(),
        finished_at: "2026-01-01T00:00:02Z".into(),
        ..Default::default()
    }
}

#[test]
fn states_and_reasons_follow_the_engine() {
    use cri::ContainerState::{ContainerCreated, ContainerExited, ContainerRunning, ContainerUnknown};
    let cases = [
        (state("created", 0), ContainerCreated, ""),
        (state("created", 127), ContainerExited, "ContainerCannotRun"),
        (
            ContainerState {
                error: "no such file".into(),
                ..state("created", 0)
            },
            ContainerExited,
            "ContainerCannotRun",
        ),
        (state("running", 0), ContainerRunning, ""),
        (state("paused", 0), ContainerRunning, ""),
        (state("exited", 0), ContainerExited, "Completed"),
        (state("exited", 3), ContainerExited, "Error"),
        (state("dead", 3), ContainerExited, "Error"),
        (
            ContainerState {
                oom_killed: true,
                ..state("exited", 137)
            },
            ContainerExited,
            "OOMKilled",
        ),
        (state("something new", 0), ContainerUnknown, ""),
    ];
    for (state, expected, reason) in cases {
        let status = container(&inspect(state.clone()), &ContainerRecord::default());
        assert_eq!(
            (status.state, status.reason.as_str()),
            (expected.into(), reason),
            "{state:?}"
        );
        if reason != "ContainerCannotRun" {
            assert_eq!(status.exit_code, state.exit_code);
        }
        if status.state == i32::from(ContainerExited) {
            assert_ne!(status.finished_at, 0);
        } else {
            assert_eq!(status.finished_at, 0);
        }
    }
}

#[test]
fn what_was_asked_for_is_echoed() {
    let config = cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: "a_b".into(),
            attempt: 4,
        }),
        image: Some(cri::ImageSpec {
            image: "sha256:1d".into(),
            user_specified_image: "registry.example/app:1".into(),
            ..Default::default()
        }),
        mounts: vec![cri::Mount {
            container_path: "/data".into(),
            host_path: "/srv/link".into(),
            propagation: cri::MountPropagation::PropagationHostToContainer.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let record = ContainerRecord {
        config: config.clone(),
        sandbox_id: "5a".into(),
        log_path: "/var/log/pods/p/c/0.log".into(),
        image_ref: "app@sha256:d1".into(),
        user: None,
        created_at: 9,
    };
    let status = container(&inspect(state("running", 0)), &record);
    assert_eq!(status.metadata, config.metadata);
    assert_eq!(status.mounts, config.mounts);
    assert_eq!(
        status.image.map(|i| i.image),
        Some("registry.example/app:1".into())
    );
    assert_eq!(
        (status.image_ref.as_str(), status.image_id.as_str()),
        ("app@sha256:d1", "sha256:1d")
    );
    assert_eq!(
        (status.created_at, status.log_path.as_str()),
        (9, "/var/log/pods/p/c/0.log")
    );
    assert_eq!(status.stop_signal, i32::from(cri::Signal::Sigquit));
}

#[test]
fn a_container_without_a_record_still_has_an_image_and_a_time() {
    let status = container(&inspect(state("running", 0)), &ContainerRecord::default());
    assert_eq!(status.image.map(|i| i.image), Some("busybox".into()));
    assert_eq!(status.image_ref, "sha256:1d");
    assert_eq!(status.created_at, 1_767_225_600_000_000_005);
}

#[test]
fn a_pod_shows_all_its_addresses() {
    let addresses = ["10.1.0.2", "fd00::2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let running = ContainerState {
        running: true,
        ..state("running", 0)
    };
    let status = sandbox(&inspect(running), &SandboxRecord::default(), &addresses);
    let network = status.network.unwrap_or_default();
    assert_eq!(network.ip, "10.1.0.2");
    assert_eq!(network.additional_ips, [cri::PodIp { ip: "fd00::2".into() }]);
    assert_eq!(status.state, i32::from(cri::PodSandboxState::SandboxReady));
}

#[test]
fn a_failed_start_is_listed_as_exited() {
    let entry = ContainerEntry {
        state: "created".into(),
        created: 3,
        ..Default::default()
    };
    let item = |cannot_run| container_item(&entry, "5a", &ContainerRecord::default(), cannot_run);
    assert_eq!(
        item(false).state,
        i32::from(cri::ContainerState::ContainerCreated)
    );
    assert_eq!(item(true).state, i32::from(cri::ContainerState::ContainerExited));
    assert_eq!(item(false).created_at, 3_000_000_000);
}

#[test]
fn a_failed_start_never_looks_like_a_success() {
    let failed = ContainerState {
        error: "no such file".into(),
        ..state("created", 0)
    };
    for (state, code) in [(failed, 128), (state("created", 127), 127)] {
        let status = container(&inspect(state), &ContainerRecord::default());
        assert_eq!(status.exit_code, code);
    }
}

#[test]
fn whatever_has_ended_has_an_end() {
    let never = ContainerState {
        started_at: "0001-01-01T00:00:00Z".into(),
        finished_at: "0001-01-01T00:00:00Z".into(),
        ..state("dead", 0)
    };
    let status = container(&inspect(never), &ContainerRecord::default());
    assert_eq!(status.state, i32::from(cri::ContainerState::ContainerExited));
    assert_eq!(status.finished_at, status.created_at);
    assert_ne!(status.finished_at, 0);
}

#[test]
fn a_limit_below_the_engines_minimum_is_told_as_it_was_asked() {
    let told = |asked: i64, memory: i64, memory_swap: i64| {
        let mut inspect = inspect(state("running", 0));
        inspect.host_config.memory = memory;
        inspect.host_config.memory_swap = memory_swap;
        let mut record = ContainerRecord::default();
        let linux = record.config.linux.get_or_insert_default();
        linux.resources.get_or_insert_default().memory_limit_in_bytes = asked;
        let resources = container(&inspect, &record).resources.unwrap_or_default();
        let linux = resources.linux.unwrap_or_default();
        (linux.memory_limit_in_bytes, linux.memory_swap_limit_in_bytes)
    };
    let least = resources::MINIMUM_MEMORY;
    assert_eq!(told(1 << 20, least, least), (1 << 20, 1 << 20));
    assert_eq!(told(1 << 20, least, -1), (1 << 20, -1));
    assert_eq!(told(1 << 20, least, least + 5), (1 << 20, (1 << 20) + 5));
    // Updated since, or as large as it was asked for.
    assert_eq!(told(1 << 20, 1 << 30, 1 << 30), (1 << 30, 1 << 30));
    assert_eq!(told(least, least, least), (least, least));
    assert_eq!(told(0, least, least), (least, least));
}

#[test]
fn namespaces_without_a_record_are_the_engines() {
    use cri::NamespaceMode::{Container, Node, Pod};
    for (network, pid, ipc, expected) in [
        ("none", "", "shareable", (Pod, Container, Pod)),
        ("host", "host", "host", (Node, Node, Node)),
    ] {
        let mut inspect = inspect(state("running", 0));
        inspect.host_config.network_mode = network.into();
        inspect.host_config.pid_mode = pid.into();
        inspect.host_config.ipc_mode = ipc.into();
        let status = sandbox(&inspect, &SandboxRecord::default(), &[]);
        let namespaces = status.linux.and_then(|linux| linux.namespaces);
        let options = namespaces.and_then(|n| n.options).unwrap_or_default();
        let (network, pid, ipc) = expected;
        assert_eq!(
            (options.network, options.pid, options.ipc),
            (network.into(), pid.into(), ipc.into())
        );
        // Who asked for nothing asked for the pod's own.
        let record = SandboxRecord {
            created_at: 1,
            ..Default::default()
        };
        let namespaces = sandbox(&inspect, &record, &[])
            .linux
            .and_then(|linux| linux.namespaces);
        assert_eq!(
            namespaces.and_then(|n| n.options),
            Some(cri::NamespaceOption::default())
        );
    }
}
