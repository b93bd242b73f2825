//! How containers start and end: states, times, codes, reasons.

use std::time::{Duration, Instant};

use cri::{ContainerState, ContainerStatusRequest, Signal, StartContainerRequest};
use support::{DEAF, Engine, container_of};
use tonic::Code;

use super::{Node, now, remove, resources, stop};

#[tokio::test(flavor = "multi_thread")]
async fn states_and_times_agree_in_list_and_status() {
    let node = Node::new().await;
    let before = now();
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let config = node.config("life", &["sh", "-c", script]);
    let id = node.daemon.create(&node.sandbox, &node.pod, &config).await;
    let created = node.daemon.container_status(&id).await;
    assert_eq!(created.state(), ContainerState::ContainerCreated);
    assert!((before..=now()).contains(&created.created_at), "{created:?}");
    assert_eq!(
        (created.started_at, created.finished_at, &*created.reason),
        (0, 0, "")
    );

    node.daemon.start_container(&id).await;
    let running = node.daemon.container_status(&id).await;
    assert_eq!(running.state(), ContainerState::ContainerRunning);
    assert!(
        (created.created_at..=now()).contains(&running.started_at),
        "{running:?}"
    );
    assert_eq!(
        (running.finished_at, running.exit_code, &*running.reason),
        (0, 0, "")
    );
    assert_eq!(node.item(&id).await.state(), ContainerState::ContainerRunning);

    node.daemon.says(&id, "ready").await;
    stop(&node.daemon, &id, 30).await;
    let exited = node.daemon.container_status(&id).await;
    assert_eq!(exited.state(), ContainerState::ContainerExited);
    assert_eq!((exited.exit_code, &*exited.reason), (0, "Completed"));
    assert_eq!(
        (exited.created_at, exited.started_at),
        (created.created_at, running.started_at)
    );
    assert!(
        (exited.started_at..=now()).contains(&exited.finished_at),
        "{exited:?}"
    );
    let item = node.item(&id).await;
    assert_eq!(
        (item.state(), item.created_at),
        (ContainerState::ContainerExited, created.created_at)
    );
    // Nanoseconds, not whole seconds.
    assert!(
        [exited.created_at, exited.started_at, exited.finished_at]
            .iter()
            .any(|time| time % 1_000_000 != 0)
    );

    for _ in 0..2 {
        stop(&node.daemon, &id, 10).await;
    }
    for _ in 0..2 {
        remove(&node.daemon, &id).await;
    }
    assert!(Engine::get().find(&id).is_none());
    let request = ContainerStatusRequest {
        container_id: id.clone(),
        verbose: false,
    };
    let status = node.daemon.runtime().container_status(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let request = StartContainerRequest { container_id: id };
    let status = node.daemon.runtime().start_container(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_and_reasons_tell_how_it_ended() {
    let node = Node::new().await;
    for (name, script, code, reason) in [
        ("done", "exit 0", 0, "Completed"),
        ("failed", "exit 3", 3, "Error"),
        ("killed", "kill -9 $$", 137, "Error"),
        ("not-there", "no-such-command", 127, "Error"),
    ] {
        // In a shell of its own: the first process of a namespace does not die of its own signals.
        let script = format!("sh -c '{script}'; exit $?");
        let id = node.run(&node.config(name, &["sh", "-c", &script])).await;
        let status = node.daemon.ended(&id).await;
        assert_eq!(
            (status.exit_code, &*status.reason),
            (code, reason),
            "{name}: {status:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_there_fails_the_start_and_shows_as_exited() {
    let mut node = Node::new().await;
    let config = node.config("wrong", &["/no/such/program"]);
    let id = node.daemon.create(&node.sandbox, &node.pod, &config).await;
    let request = StartContainerRequest {
        container_id: id.clone(),
    };
    let error = node.daemon.runtime().start_container(request).await.unwrap_err();
    assert!(error.message().contains("/no/such/program"), "{error}");
    for round in 0..2 {
        assert_eq!(
            node.item(&id).await.state(),
            ContainerState::ContainerExited,
            "list, round {round}"
        );
        let status = node.daemon.container_status(&id).await;
        assert_eq!(status.state(), ContainerState::ContainerExited);
        assert_eq!(
            (status.exit_code, &*status.reason),
            (127, "ContainerCannotRun"),
            "{status:?}"
        );
        assert!(status.message.contains("/no/such/program"), "{status:?}");
        assert!(
            0 < status.created_at
                && status.created_at <= status.started_at
                && status.started_at <= status.finished_at
        );
        // Another daemon knows it too, also before it has looked at the container itself.
        if round == 0 {
            node.daemon.restart().await;
        }
    }
    remove(&node.daemon, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_takes_too_much_memory_is_oom_killed() {
    let node = Node::new().await;
    // The shell outlives its child for a while: the Engine hears of the kill by an event of its own, and one whose
    // control group is gone when the Engine's shim looks is lost, by every version of it.
    let script = "tail /dev/zero; code=$?; sleep 2; exit $code";
    let mut config = node.config("greedy", &["sh", "-c", script]);
    let limits = resources(&mut config);
    limits.memory_limit_in_bytes = 24 << 20;
    limits.memory_swap_limit_in_bytes = 24 << 20;
    let id = node.run(&config).await;
    let status = node.daemon.ended(&id).await;
    assert_eq!(
        (status.exit_code, &*status.reason),
        (137, "OOMKilled"),
        "{status:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_signals_are_the_configurations_then_the_images_and_then_comes_the_kill() {
    let node = Node::new().await;
    let features = node.daemon.pull("features:latest").await;
    // The image's: SIGUSR1.
    let config = container_of(&node.pod, "of-image", &features, &[]);
    let of_image = node.run(&config).await;
    assert_eq!(
        node.daemon.container_status(&of_image).await.stop_signal(),
        Signal::Sigusr1
    );
    // The configuration's, before the image's.
    let script = "trap 'exit 42' HUP; trap '' USR1 TERM; echo ready; while :; do sleep 0.1; done";
    let mut config = container_of(&node.pod, "own", &features, &["sh", "-c", script]);
    config.stop_signal = Signal::Sighup.into();
    let own = node.run(&config).await;
    assert_eq!(
        node.daemon.container_status(&own).await.stop_signal(),
        Signal::Sighup
    );
    // A deaf one.
    let deaf = node.run(&node.config("deaf", DEAF)).await;
    for (id, word) in [(&of_image, "started"), (&own, "ready"), (&deaf, "ready")] {
        node.daemon.says(id, word).await;
    }

    // The codes tell that the signal has ended them.
    for (id, timeout, code) in [(&of_image, 60, 0), (&own, 60, 42), (&deaf, 2, 137)] {
        let began = Instant::now();
        stop(&node.daemon, id, timeout).await;
        if id == &deaf {
            assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
        }
        assert_eq!(node.daemon.container_status(id).await.exit_code, code);
    }
}
