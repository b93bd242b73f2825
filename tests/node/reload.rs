//! SIGHUP, and what systemd is told.

use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use cri::StatusRequest;
use serde_json::Value;
use support::{Daemon, Engine, container_of, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

async fn shown(daemon: &Daemon, option: &str) -> Value {
    let answer = daemon.runtime().status(StatusRequest { verbose: true }).await;
    let info = answer.unwrap().into_inner().info;
    serde_json::from_str::<Value>(&info["config"]).unwrap()[option].clone()
}

fn reload(daemon: &Daemon, expected: &str) {
    let before = daemon.log().len();
    daemon.signal("HUP");
    eventually(expected, PATIENCE, || {
        daemon.log()[before..].contains(expected).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_it_can_and_names_what_it_cannot() {
    let _alone = super::ALONE.lock().await;
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("config.toml");
    fs::write(&file, "container-log-size = '1m'").unwrap();
    let daemon = support::daemon!()
        .flag(format!("--config={}", file.display()))
        .start()
        .await;
    assert_eq!(shown(&daemon, "container-log-size").await, "1m");

    fs::write(&file, "container-log-size = '2m'\nstream-idle-timeout = '1h'").unwrap();
    reload(&daemon, "configuration reloaded");
    assert_eq!(shown(&daemon, "container-log-size").await, "2m");
    assert_eq!(
        shown(&daemon, "stream-idle-timeout").await,
        "4h",
        "what is shown is in effect"
    );
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("at the next start only"))
        .unwrap();
    assert!(line.contains("stream-idle-timeout"), "{line}");

    // What is wrong is told with its place, and changes nothing.
    fs::write(&file, "container-log-size = 3\n").unwrap();
    reload(&daemon, "config.toml:1:22");
    let pod = daemon.pod("reload");
    let sandbox = daemon.run_pod(&pod).await;
    let image = daemon.pull("busybox:1").await;
    let config = container_of(&pod, "c", &image, &["sleep", "1000"]);
    let id = daemon.create(&sandbox, &pod, &config).await;
    let inspect = Engine::get().inspect(&id);
    assert_eq!(inspect["HostConfig"]["LogConfig"]["Config"]["max-size"], "2m");
}

/// The next message that is no sign of life.
fn told(manager: &UnixDatagram, wanted: &str) -> String {
    loop {
        let mut buffer = [0; 4096];
        let length = manager
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("no {wanted}: {error}"));
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if message.starts_with(wanted) {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_the_start_of_life_of_reloads_and_of_the_end() {
    let _alone = super::ALONE.lock().await;
    // Socket paths must be short.
    let scratch = tempfile::tempdir_in("/run").unwrap();
    let path = scratch.path().join("n");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut daemon = support::daemon!()
        .variable("NOTIFY_SOCKET", path.to_str().unwrap())
        .variable("WATCHDOG_USEC", "500000")
        .start()
        .await;
    told(&manager, "READY=1");
    told(&manager, "STATUS=serving CRI on Docker Engine");
    told(&manager, "WATCHDOG=1");
    daemon.signal("HUP");
    told(&manager, "RELOADING=1\nMONOTONIC_USEC=");
    told(&manager, "READY=1");
    let ended = daemon.stop();
    told(&manager, "STOPPING=1\nEXTEND_TIMEOUT_USEC=70000000");
    assert!(ended.success());
}
