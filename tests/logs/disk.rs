//! Disks that are full or read-only.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use cri::ContainerState;
use support::eventually;

use super::{Node, PATIENCE, check_numbers, whole};

/// A script that writes numbered lines of 1000 bytes, some hundred a second at most, until it is told to end.
const TICKS: &str = "x=$(head -c 990 /dev/zero | tr '\\0' x); i=0; \
    while [ ! -e /tmp/end ]; do i=$((i+1)); echo \"$i $x\"; sleep 0.002; done";

const COMPLAINT: &str = "cannot copy a log";

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// A small disk of its own at the pod's log directory.
struct Disk(PathBuf);

impl Disk {
    fn new(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let place = path.to_str().unwrap();
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={size}"), "logs", place],
        );
        Self(path.into())
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("fill");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        for block in [&[0; 65536][..], &[0; 1]] {
            let full = loop {
                if let Err(error) = file.write_all(block) {
                    break error.kind();
                }
            };
            assert_eq!(full, ErrorKind::StorageFull);
        }
        path
    }

    fn remount(&self, how: &str) {
        run(
            "mount",
            &["-o", &format!("remount,{how}"), self.0.to_str().unwrap()],
        );
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Ends the container, which runs still whatever has become of its log, and tells how many lines it has written.
pub(crate) async fn end(node: &Node, id: &str) -> usize {
    let running = node.daemon.container_status(id).await;
    assert_eq!(running.state(), ContainerState::ContainerRunning);
    let source = source(id);
    // The command may die with the container that it ends.
    node.daemon.exec(id, &["touch", "/tmp/end"], 0).await.unwrap();
    node.daemon.ended(id).await;
    let older = fs::read_to_string(format!("{}.1", source.display())).unwrap_or_default();
    let text = older + &fs::read_to_string(source).unwrap();
    let last = text.lines().last().unwrap().strip_prefix("{\"log\":\"").unwrap();
    last.split(' ').next().unwrap().parse().unwrap()
}

/// The Engine's log.
fn source(id: &str) -> PathBuf {
    support::Engine::get().inspect(id)["LogPath"]
        .as_str()
        .unwrap()
        .into()
}

/// Waits until the container has written much more, whatever becomes of that.
fn goes_on(node: &Node, id: &str) {
    let source = source(id);
    let before = fs::metadata(&source).unwrap().len();
    eventually("the container goes on", PATIENCE, || {
        (fs::metadata(&source).unwrap().len() > before + 300_000).then_some(())
    });
    assert!(node.daemon.log().contains(COMPLAINT));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_the_container_goes_on_and_its_log_when_there_is_room() {
    let node = Node::new().await;
    let disk = Disk::new(Path::new(&node.pod.log_directory), "2m");
    let id = node.run(&node.config("ticks", TICKS)).await;
    let other = node
        .run(&node.config(
            "other",
            "echo 1 before; while [ ! -e /tmp/end ]; do sleep 0.01; done; echo 2 after",
        ))
        .await;
    let log = node.log("ticks");
    let began = Instant::now();
    for round in 1..3 {
        let length = fs::metadata(&log).unwrap().len();
        eventually("lines", PATIENCE, || {
            (fs::metadata(&log).unwrap().len() > length).then_some(())
        });
        let fill = disk.fill();
        eventually("an error", PATIENCE, || {
            node.daemon.log().contains(COMPLAINT).then_some(())
        });
        goes_on(&node, &id);
        // The kubelet cannot rotate, and is told so or not, but must not be left waiting.
        let _ = tokio::time::timeout(PATIENCE, node.reopen(&id))
            .await
            .expect("an answer");
        let (before, since) = (cpu(node.daemon.pid()), Instant::now());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (busy, time) = (cpu(node.daemon.pid()) - before, since.elapsed());
        assert!(busy < time / 2, "{busy:?} of {time:?} are spent on a full disk");
        let errors = node.daemon.log().matches(COMPLAINT).count();
        let allowed = 2 * round + began.elapsed().as_secs() as usize / 30;
        assert!(errors <= allowed, "{errors} errors");
        fs::remove_file(fill).unwrap();
    }
    disk.remount("size=64m");
    let count = end(&node, &id).await;
    check_numbers(&whole(&log), count);
    node.daemon.exec(&other, &["touch", "/tmp/end"], 0).await.unwrap();
    node.daemon.ended(&other).await;
    check_numbers(&fs::read_to_string(node.log("other")).unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_costs_is_said() {
    let node = Node::with(support::daemon!().flag("--container-log-size=100k")).await;
    let disk = Disk::new(Path::new(&node.pod.log_directory), "1m");
    let id = node.run(&node.config("ticks", TICKS)).await;
    let log = node.log("ticks");
    let fill = disk.fill();
    eventually("an error", PATIENCE, || {
        node.daemon.log().contains(COMPLAINT).then_some(())
    });
    let source = source(&id);
    let mut seen = Vec::new();
    eventually("the Engine has rotated often", PATIENCE, || {
        // While the Engine rotates there is no file for a moment.
        let now = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&source).ok()?);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        (seen.len() > 5).then_some(())
    });
    fs::remove_file(fill).unwrap();
    disk.remount("size=64m");
    end(&node, &id).await;
    let text = fs::read_to_string(&log).unwrap();
    let mut before = 0;
    let mut gap = None;
    for line in text.lines() {
        let (stream, _, text) = super::parts(line);
        if stream == "stderr" {
            assert!(
                text.starts_with("[dockside] lines are missing: ")
                    && text.contains(" bytes, ")
                    && text.contains(", between 20"),
                "{text}"
            );
            assert!(gap.replace(before).is_none(), "said twice");
            continue;
        }
        let number: usize = text.split(' ').next().unwrap().parse().unwrap();
        if gap == Some(before) {
            assert!(number > before + 1, "nothing is missing");
        } else {
            assert_eq!(number, before + 1);
        }
        before = number;
    }
    assert!(gap.is_some(), "the gap is not said");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_read_only_disk_the_container_goes_on_and_its_log_later() {
    let mut node = Node::alone().await;
    let disk = Disk::new(Path::new(&node.pod.log_directory), "64m");
    let id = node.run(&node.config("ticks", TICKS)).await;
    let log = node.log("ticks");
    eventually("lines", PATIENCE, || {
        (fs::metadata(&log).unwrap().len() > 5000).then_some(())
    });
    // The kernel refuses to take a disk away from somebody who writes to it.
    node.daemon.kill();
    disk.remount("ro");
    node.daemon.start_again().await;
    eventually("an error", PATIENCE, || {
        node.daemon.log().contains(COMPLAINT).then_some(())
    });
    goes_on(&node, &id);
    assert!(node.reopen(&id).await.is_err());
    disk.remount("rw");
    let count = end(&node, &id).await;
    eventually("all lines", PATIENCE, || {
        (fs::read_to_string(&log).unwrap().lines().count() >= count).then_some(())
    });
    check_numbers(&whole(&log), count);
}

/// The processor time of a process.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * ticks)
}
