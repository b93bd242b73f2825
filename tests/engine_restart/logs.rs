//! Container logs over the Engine's end and its return.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cri::ContainerState;
use support::{Daemon, Engine, container_of, eventually};

use super::{ALONE, engine, recovers};

const PATIENCE: Duration = Duration::from_secs(60);

/// A script that writes numbered lines on both streams, in bursts, until it is told to end. Without the pauses a fast
/// machine would make the Engine rotate its file, which is compared as a whole.
const COUNT: &str = "trap 'exit 0' TERM; i=0; while [ ! -e /tmp/end ]; do \
    i=$((i+1)); echo \"$i out\"; echo \"$i err\" >&2; [ $((i % 200)) != 0 ] || sleep 0.05; done";

/// Both logs hold the same lines: streams and texts in the Engine's order, or why not.
fn same(source: &Path, log: &Path) -> Result<usize, String> {
    let expected = fs::read_to_string(source).unwrap();
    let expected: Vec<_> = expected
        .lines()
        .filter_map(|line| {
            // What a killed Engine has torn has the next line behind it.
            let line = &line[line.rfind("{\"log\":\"")?..];
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let text = |name: &str| line[name].as_str().unwrap().trim_end().to_owned();
            Some(format!("{} {} F {}", text("time"), text("stream"), text("log")))
        })
        .collect();
    let written = fs::read_to_string(log).unwrap();
    let mut written = written
        .lines()
        .filter(|line| !line.contains(" stderr F [dockside] "));
    for (index, line) in expected.iter().enumerate() {
        match written.next() {
            Some(other) if other == line => {}
            other => {
                return Err(format!(
                    "line {index} of {}: {line:?} is {other:?}",
                    expected.len()
                ));
            }
        }
    }
    written
        .next()
        .map_or(Ok(expected.len()), |line| Err(format!("{line:?} is too much")))
}

async fn busy(daemon: &Daemon, name: &str) -> (String, PathBuf, PathBuf) {
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod(name);
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "count", &image, &["sh", "-c", COUNT]);
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let source = Engine::get().inspect(&id)["LogPath"].as_str().unwrap().into();
    let log = Path::new(&pod.log_directory).join("count/0.log");
    grows(&log);
    (id, source, log)
}

fn grows(log: &Path) {
    let length = fs::metadata(log).unwrap().len();
    eventually("more lines", PATIENCE, || {
        (fs::metadata(log).unwrap().len() > length + 10_000).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_outlive_the_engine_lose_no_line() {
    let _alone = ALONE.lock().await;
    engine("engine-stop", &[]);
    engine("engine-start", &["--live-restore"]);
    let mut daemon = support::daemon!().start().await;
    recovers(&daemon).await;
    let (id, source, log) = busy(&daemon, "outlives").await;
    for stop in ["engine-stop", "engine-kill"] {
        engine(stop, &[]);
        // dockside may end meanwhile as well.
        daemon.kill();
        daemon.start_again().await;
        engine("engine-start", &["--live-restore"]);
        recovers(&daemon).await;
        assert_eq!(
            daemon.container_status(&id).await.state(),
            ContainerState::ContainerRunning
        );
        grows(&log);
    }
    // The command may die with the container that it ends.
    daemon.exec(&id, &["touch", "/tmp/end"], 0).await.unwrap();
    daemon.ended(&id).await;
    let lines = same(&source, &log);
    assert!(lines.as_ref().is_ok_and(|lines| *lines > 100), "{lines:?}");
    drop(daemon);
    engine("engine-stop", &[]);
    engine("engine-start", &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_end_with_the_engine_have_all_their_lines() {
    let _alone = ALONE.lock().await;
    let daemon = support::daemon!().start().await;
    for stop in ["engine-stop", "engine-kill"] {
        let (id, source, log) = busy(&daemon, stop).await;
        engine(stop, &[]);
        engine("engine-start", &[]);
        recovers(&daemon).await;
        assert_eq!(
            daemon.container_status(&id).await.state(),
            ContainerState::ContainerExited
        );
        let lines = same(&source, &log);
        assert!(
            lines.as_ref().is_ok_and(|lines| *lines > 100),
            "{stop}: {lines:?}"
        );
    }
}
