//! Processes, by `/proc`.

use std::{collections::HashSet, fs, io, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

/// How often a tree is looked at again for processes that were forked meanwhile.
const ROUNDS: usize = 50;

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Kills the process `root` and everything it started, and waits until all of them are gone.
///
/// A process belongs to it that descends from `root`, or is in the session that `root` leads: an OCI
/// runtime starts every exec in a session of its own, so also what was left behind by a parent that
/// exited is found. Fails if some of it is still there at the end.
pub async fn kill_tree(root: i32) -> io::Result<()> {
    let mut mine = HashSet::from([root]);
    for _ in 0..ROUNDS {
        let alive = members(&mut mine, root)?;
        if alive.is_empty() {
            return Ok(());
        }
        for pid in alive {
            if let Some(pid) = Pid::from_raw(pid) {
                // It may have ended by itself, which is as good.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(io::Error::other(format!(
        "processes started by {root} do not end"
    )))
}

/// The live processes that belong to `root`; adds them to `mine`, so that children of one that ended in
/// between are recognised.
fn members(mine: &mut HashSet<i32>, root: i32) -> io::Result<Vec<i32>> {
    let all: Vec<Stat> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .collect();
    loop {
        let before = mine.len();
        for process in &all {
            if process.session == root || mine.contains(&process.parent) {
                mine.insert(process.pid);
            }
        }
        if mine.len() == before {
            break;
        }
    }
    Ok(all
        .iter()
        .filter(|p| mine.contains(&p.pid) && !p.zombie)
        .map(|p| p.pid)
        .collect())
}

struct Stat {
    pid: i32,
    parent: i32,
    session: i32,
    zombie: bool,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything, parentheses too.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let _group = fields.next()?;
    let session = fields.next()?.parse().ok()?;
    Some(Stat {
        pid,
        parent,
        session,
        zombie,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn a_tree_dies_with_what_it_left_behind() {
        // One child, one grandchild whose parent has exited, one that stops the gentle signals.
        let script = "sleep 4321 & (sleep 4321 & ) ; trap '' TERM; while :; do sleep 1; done";
        let mut shell = Command::new("setsid")
            .args(["sh", "-c", script])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let root = i32::try_from(shell.id()).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(members(&mut HashSet::from([root]), root).unwrap().len() >= 3);
        let reaper = std::thread::spawn(move || shell.wait());
        kill_tree(root).await.unwrap();
        assert!(members(&mut HashSet::from([root]), root).unwrap().is_empty());
        reaper.join().unwrap().unwrap();
    }
}
