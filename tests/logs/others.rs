//! Logs that somebody else has begun or writes too.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::json;
use support::{Engine, Env, eventually};

use super::{ENGINE, Node, PATIENCE, check_numbers, parts};

const MESSAGE: &str = "another dockside works with the same engine and writes the logs";

/// A script that writes numbered lines without an end.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";

/// The number of the last line.
fn last(log: &Path) -> usize {
    let text = fs::read_to_string(log).unwrap();
    // The last line may be half written.
    let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
    whole
        .lines()
        .last()
        .map_or(0, |line| parts(line).2.parse().unwrap())
}

fn grows(log: &Path) {
    let before = last(log);
    eventually("more lines", PATIENCE, || (last(log) > before).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_daemons_on_one_engine_one_writes_a_log() {
    let mut node = Node::alone().await;
    let id = node.run(&node.config("count", COUNT)).await;
    let log = node.log("count");
    let other = support::daemon!().start().await;
    eventually("it says so", PATIENCE, || {
        other.log().contains(MESSAGE).then_some(())
    });
    grows(&log);
    fs::rename(&log, log.with_file_name("0.log.20261121-000001")).unwrap();
    node.reopen(&id).await.unwrap();
    grows(&log);
    // When the first has gone, the other one goes on; and the first is told so when it is back.
    node.daemon.kill();
    grows(&log);
    node.daemon.start_again().await;
    eventually("it says so", PATIENCE, || {
        node.daemon.log().contains(MESSAGE).then_some(())
    });
    drop(other);
    grows(&log);
    Engine::get().ask("POST", &format!("/containers/{id}/kill"), None);
    node.daemon.ended(&id).await;
    check_numbers(&super::whole(&log), last(&log));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_cri_dockerd_gets_a_log_with_every_line() {
    let _alone = ENGINE.write().await;
    let mut daemon = support::daemon!().start().await;
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("adopted");
    let metadata = pod.metadata.clone().unwrap();
    let sandbox = daemon.run_pod(&pod).await;
    let engine = Engine::get();
    // It would follow them as soon as they are started.
    daemon.kill();
    let mut made = Vec::new();
    // The image has brought it along: it must not decide where dockside writes.
    let forged = Path::new(&pod.log_directory).join("forged");
    let record = json!({ "log_path": forged.join("0.log"), "config": { "log_path": "forged/0.log" } });
    for (name, script) in [("count", COUNT), ("ended", "seq 1 500")] {
        let log = Path::new(&pod.log_directory).join(name).join("0.log");
        let label = |key: &str| format!("io.kubernetes.{key}");
        let body = json!({
            "Image": image,
            "Entrypoint": ["sh", "-c", script],
            "Labels": {
                label("docker.type"): "container",
                label("sandbox.id"): sandbox,
                label("container.logpath"): log,
                label("container.name"): name,
                label("pod.name"): metadata.name,
                label("pod.namespace"): metadata.namespace,
                label("pod.uid"): metadata.uid,
                "annotation.io.kubernetes.container.restartCount": "0",
                "io.dockside.record": record.to_string(),
            },
            "HostConfig": {
                "NetworkMode": format!("container:{sandbox}"),
                "CgroupParent": format!("{}/{}", Env::get().cgroup, daemon.name()),
                "LogConfig": { "Type": "json-file", "Config": {} },
            },
        });
        let container = format!(
            "k8s_{name}_{}_{}_{}_0",
            metadata.name, metadata.namespace, metadata.uid
        );
        let id = engine.ask(
            "POST",
            &format!("/containers/create?name={container}"),
            Some(&body),
        );
        let id = id["Id"].as_str().unwrap().to_owned();
        engine.ask("POST", &format!("/containers/{id}/start"), None);
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        symlink(engine.inspect(&id)["LogPath"].as_str().unwrap(), &log).unwrap();
        made.push((id, log));
    }
    let [(count, log), (_, ended)] = &made[..] else {
        panic!()
    };
    daemon.start_again().await;
    eventually("a true log", PATIENCE, || {
        let is_true = fs::symlink_metadata(log).is_ok_and(|metadata| metadata.is_file());
        is_true.then_some(())
    });
    grows(log);
    fs::rename(log, log.with_file_name("0.log.20261121-000001")).unwrap();
    let request = cri::ReopenContainerLogRequest {
        container_id: count.clone(),
    };
    daemon.runtime().reopen_container_log(request).await.unwrap();
    grows(log);
    engine.ask("POST", &format!("/containers/{count}/kill"), None);
    for (id, log) in &made {
        daemon.ended(id).await;
        assert!(fs::symlink_metadata(log).unwrap().is_file());
        check_numbers(&super::whole(log), last(log));
    }
    assert_eq!(last(ended), 500);
    assert!(!forged.exists());
}
