//! Container logs as the kubelet finds them, on a real Engine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "logs/disk.rs"]
mod disk;
#[path = "logs/others.rs"]
mod others;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cri::{
    ContainerConfig, ContainerState, ListContainersRequest, PodSandboxConfig, ReopenContainerLogRequest,
};
use support::{Daemon, Engine, Options, container_of, eventually};
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon writes the logs of the containers that it starts. When it ends, another one on the same Engine goes
/// on with them, so a test that ends one has the Engine for itself.
static ENGINE: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

enum Guard {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

struct Node {
    daemon: Daemon,
    image: String,
    pod: PodSandboxConfig,
    sandbox: String,
    // Dropped last, when the daemon has ended.
    _guard: Guard,
}

impl Node {
    async fn new() -> Self {
        Self::with(support::daemon!()).await
    }

    /// With a daemon that may be ended.
    async fn alone() -> Self {
        let _guard = ENGINE.write().await;
        Self::on(support::daemon!(), Guard::Alone { _guard }).await
    }

    async fn with(options: Options) -> Self {
        let _guard = ENGINE.read().await;
        Self::on(options, Guard::Shared { _guard }).await
    }

    async fn on(options: Options, guard: Guard) -> Self {
        let daemon = options.start().await;
        let image = daemon.pull("busybox:1").await;
        let pod = daemon.pod("logs");
        let sandbox = daemon.run_pod(&pod).await;
        Self {
            daemon,
            image,
            pod,
            sandbox,
            _guard: guard,
        }
    }

    fn config(&self, name: &str, script: &str) -> ContainerConfig {
        container_of(&self.pod, name, &self.image, &["sh", "-c", script])
    }

    async fn run(&self, config: &ContainerConfig) -> String {
        self.daemon.run_container(&self.sandbox, &self.pod, config).await
    }

    fn log(&self, name: &str) -> PathBuf {
        Path::new(&self.pod.log_directory).join(name).join("0.log")
    }

    async fn reopen(&self, id: &str) -> Result<(), tonic::Status> {
        let request = ReopenContainerLogRequest {
            container_id: id.into(),
        };
        self.daemon
            .runtime()
            .reopen_container_log(request)
            .await
            .map(drop)
    }
}

/// A line of CRI: stream, tag, text.
fn parts(line: &str) -> (&str, &str, &str) {
    let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
    assert!(
        time.starts_with("20") && time.ends_with('Z') && time.contains('T'),
        "{line:?}"
    );
    let (stream, rest) = rest.split_once(' ').unwrap();
    let (tag, text) = rest.split_once(' ').unwrap();
    assert!(
        matches!(stream, "stdout" | "stderr") && matches!(tag, "F" | "P"),
        "{line:?}"
    );
    (stream, tag, text)
}

/// The log and what it was renamed to, in order.
fn whole(log: &Path) -> String {
    let entries = fs::read_dir(log.parent().unwrap()).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_by_key(|path| (path == log, path.clone()));
    paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// Asserts that the lines are the numbers up to `count`, each once and in order.
#[track_caller]
fn check_numbers(text: &str, count: usize) {
    let mut before = 0;
    for (index, line) in text.lines().enumerate() {
        let (_, _, text) = parts(line);
        let number: usize = text.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(number, before + 1, "line {index} of {count}: {line}");
        before = number;
    }
    assert_eq!(before, count);
}

/// A script that writes numbered lines of about 100 bytes.
fn numbers(count: usize) -> String {
    format!("seq 1 {count} | sed 's/$/ {}/'", "x".repeat(90))
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_those_of_cri_and_all_there_at_the_exit() {
    let node = Node::new().await;
    let script = r#"echo out; echo err >&2; printf 'tab\tquote"back\\slash\001\n'; printf 'bad \377 byte\n';
        head -c 20000 /dev/zero | tr '\0' z; echo; printf 'no newline'"#;
    let id = node.run(&node.config("plain", script)).await;
    assert!(
        node.log("plain").exists(),
        "the log is there when the start returns"
    );
    let status = node.daemon.ended(&id).await;
    assert_eq!(status.log_path, node.log("plain").display().to_string());
    let text = fs::read_to_string(node.log("plain")).unwrap();
    let out: Vec<_> = text
        .lines()
        .map(parts)
        .filter(|line| line.0 == "stdout")
        .collect();
    let err: Vec<_> = text
        .lines()
        .map(parts)
        .filter(|line| line.0 == "stderr")
        .collect();
    assert_eq!(err, [("stderr", "F", "err")]);
    let tags: Vec<_> = out.iter().map(|line| line.1).collect();
    assert_eq!(tags, ["F", "F", "F", "P", "F", "P"], "{text}");
    assert_eq!(out[1].2, "tab\tquote\"back\\slash\u{1}");
    assert_eq!(out[2].2, "bad \u{fffd} byte");
    assert_eq!((out[3].2.len(), out[3].2.len() + out[4].2.len()), (16384, 20000));
    assert_eq!(out[5].2, "no newline");

    let mut config = node.config("tty", "echo one; echo two >&2; ls /nowhere");
    config.tty = true;
    let id = node.run(&config).await;
    node.daemon.ended(&id).await;
    let text = fs::read_to_string(node.log("tty")).unwrap();
    let lines: Vec<_> = text.split_terminator('\n').map(parts).collect();
    assert_eq!(lines[..2], [("stdout", "F", "one\r"), ("stdout", "F", "two\r")]);
    assert!(lines.iter().all(|line| line.0 == "stdout"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exit_is_shown_before_the_log_is_complete() {
    let node = Node::new().await;
    let mut names = Vec::new();
    for index in 0..50 {
        let name = format!("short{index}");
        let id = node.run(&node.config(&name, &numbers(200))).await;
        names.push((id, name));
        // Whatever a list shows as exited has all its lines.
        let list = node
            .daemon
            .runtime()
            .list_containers(ListContainersRequest::default())
            .await;
        for item in list.unwrap().into_inner().containers {
            if item.state() == ContainerState::ContainerExited
                && let Some((_, name)) = names.iter().find(|(id, _)| *id == item.id)
            {
                check_numbers(&fs::read_to_string(node.log(name)).unwrap(), 200);
            }
        }
    }
    for (id, name) in &names {
        node.daemon.ended(id).await;
        check_numbers(&fs::read_to_string(node.log(name)).unwrap(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_shows_up_at_once() {
    let node = Node::new().await;
    let id = node
        .run(&node.config("slow", "while :; do echo tick; sleep 0.3; done"))
        .await;
    let log = node.log("slow");
    let mut late = Vec::new();
    for _ in 0..10 {
        let length = fs::metadata(&log).unwrap().len();
        let source = Engine::get().inspect(&id)["LogPath"].as_str().unwrap().to_owned();
        let before = fs::metadata(&source).unwrap().len();
        let ask = |path: &Path, length| move_on(path, length);
        eventually("the Engine has a line", PATIENCE, || {
            ask(Path::new(&source), before)
        });
        let began = Instant::now();
        while fs::metadata(&log).unwrap().len() == length {
            assert!(began.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
        late.push(began.elapsed());
    }
    // How late it usually is the benchmark `logs` measures; other tests load this Engine.
    late.sort();
    assert!(late[0] < Duration::from_secs(1), "{late:?}");
}

fn move_on(path: &Path, length: u64) -> Option<()> {
    (fs::metadata(path).unwrap().len() > length).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_under_load_loses_and_doubles_nothing() {
    const LINES: usize = 200_000;
    // The Engine rotates too, twice: even a slow reader has what it needs still.
    let node = Node::with(support::daemon!().flag("--container-log-size=14m")).await;
    let id = node.run(&node.config("busy", &numbers(LINES))).await;
    let log = node.log("busy");
    let mut rotations = 0;
    loop {
        let rotated = log.with_file_name(format!("0.log.20261121-{rotations:06}"));
        fs::rename(&log, &rotated).unwrap();
        if let Err(status) = node.reopen(&id).await {
            // It has ended, and the kubelet puts the log back.
            assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
            assert!(!log.exists());
            fs::rename(&rotated, &log).unwrap();
            break;
        }
        assert!(log.exists());
        rotations += 1;
        let length = fs::metadata(&rotated).unwrap().len();
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(
            fs::metadata(&rotated).unwrap().len(),
            length,
            "the old file has grown"
        );
    }
    node.daemon.ended(&id).await;
    // How many there is time for depends on the machine.
    assert!(rotations > 0, "it has ended before the first rotation");
    check_numbers(&whole(&log), LINES);
    assert_eq!(
        node.reopen(&id).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_daemon_under_load_loses_and_doubles_nothing() {
    const KILLS: u64 = 20;
    let mut node = Node::alone().await;
    // Some thousand lines a second, for as long as it takes.
    let block = "seq $((i+1)) $((i+500)) | sed \"s/$/ $x/\"; i=$((i+500)); sleep 0.05";
    let until = format!("while [ ! -e /tmp/end ]; do {block}; done");
    let script = format!("x={}; i=0; {until}", "x".repeat(90));
    let id = node.run(&node.config("busy", &script)).await;
    let log = node.log("busy");
    for round in 0..KILLS {
        // At moments that differ: before it goes on, in the middle, while a rotation is under way.
        tokio::time::sleep(Duration::from_millis(round * 7 % 100)).await;
        let rotated = log.with_file_name(format!("0.log.20261121-{round:06}"));
        fs::rename(&log, &rotated).unwrap();
        if round % 2 == 0 {
            node.reopen(&id).await.unwrap();
            node.daemon.kill();
        } else {
            let reopened = tokio::spawn({
                let mut runtime = node.daemon.runtime();
                let container_id = id.clone();
                async move {
                    runtime
                        .reopen_container_log(ReopenContainerLogRequest { container_id })
                        .await
                }
            });
            tokio::time::sleep(Duration::from_millis(round % 4)).await;
            node.daemon.kill();
            let _ = reopened.await;
        }
        node.daemon.start_again().await;
        // The kubelet does so at its next round.
        if !log.exists() {
            node.reopen(&id).await.unwrap();
        }
    }
    // It has run all the time.
    let lines = disk::end(&node, &id).await;
    check_numbers(&whole(&log), lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_removed_by_hand_begins_again() {
    let node = Node::new().await;
    let id = node
        .run(&node.config("ticks", "while :; do echo tick; sleep 0.05; done"))
        .await;
    let log = node.log("ticks");
    for directory in [false, true] {
        eventually("lines", PATIENCE, || {
            fs::read_to_string(&log)
                .ok()
                .filter(|text| text.lines().count() > 2)
        });
        if directory {
            fs::remove_dir_all(log.parent().unwrap()).unwrap();
        } else {
            fs::remove_file(&log).unwrap();
        }
    }
    let text = eventually("lines", PATIENCE, || {
        fs::read_to_string(&log)
            .ok()
            .filter(|text| text.lines().count() > 2)
    });
    assert!(
        text.lines().all(|line| parts(line) == ("stdout", "F", "tick")),
        "{text}"
    );
    // The kubelet has a log that is missing made again.
    node.reopen(&id).await.unwrap();
    assert_eq!(
        node.daemon.container_status(&id).await.state(),
        ContainerState::ContainerRunning
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_go_on_without_a_kubelet_that_asks() {
    let mut node = Node::alone().await;
    node.run(&node.config("ticks", "while :; do echo tick; sleep 0.05; done"))
        .await;
    let log = node.log("ticks");
    node.daemon.restart().await;
    let length = fs::metadata(&log).unwrap().len();
    eventually("more lines", PATIENCE, || move_on(&log, length));
}
