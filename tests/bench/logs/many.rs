//! What many containers cost.

use std::{fs, time::Duration};

use crate::{
    AT_ONCE,
    machine::{Memory, Times},
    node::{Node, Way},
};

/// How long quiet containers are watched.
const QUIET: Duration = Duration::from_secs(10);

/// Quiet containers alone, then busy ones beside them.
pub(crate) async fn quiet_and_busy(node: &mut Node, quiet: usize) {
    if quiet == 0 {
        return;
    }
    let asleep = node
        .create(Way::Dockside, "quiet", quiet, "exec sleep 1000")
        .await;
    for chunk in asleep.ids.chunks(8) {
        node.start(&Node::some(chunk)).await;
    }
    // Nobody asks meanwhile: what it does is for the logs.
    node.daemon.restart().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pid = node.daemon.pid();
    let (times, wakes) = (Times::of(pid), wakes(pid));
    tokio::time::sleep(QUIET).await;
    let (idle, woken) = ((Times::of(pid) - times).own, self::wakes(pid) - wakes);
    let memory = Memory::of(pid);
    println!(
        "{quiet} quiet containers: {woken} wake-ups of the log threads and {idle:.2?} of processor time in {QUIET:?}; \
         {:.1} MB resident, {:.1} MB of it no file's",
        memory.resident, memory.anonymous
    );
    let script = format!("yes {} | head -n 200000", "x".repeat(99));
    let busy = node.create(Way::Dockside, "busy", AT_ONCE, &script).await;
    let before = Memory::of(pid);
    node.run(&busy).await;
    let after = Memory::of(pid);
    println!(
        "{AT_ONCE} busy ones beside them: at most {:.1} MB resident (before {:.1}), {} log threads",
        after.peak,
        before.resident,
        threads(pid).len()
    );
    node.remove(&busy).await;
}

/// The threads that serve logs.
fn threads(pid: u32) -> Vec<std::path::PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| task.unwrap().path())
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("logs")))
        .collect()
}

/// How often they had to be woken.
fn wakes(pid: u32) -> u64 {
    let of = |task: &std::path::PathBuf| {
        let status = fs::read_to_string(task.join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    threads(pid).iter().map(of).sum()
}
