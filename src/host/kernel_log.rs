//! What the kernel has logged: which containers it has killed for memory.
//!
//! On cgroup v2 the Engine learns of that from a file of the container's cgroup, which is gone before anybody could read
//! it where the kernel kills the whole container at once (`memory.oom.group`, which the kubelet sets). The kernel
//! logs a kill before it does it, with the cgroup's name, so there it is found whenever it is looked for.

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, read},
};

/// Each reading gives one whole record of this.
const FILE: &str = "/dev/kmsg";

/// Larger than any record; the kernel refuses a reading into less.
const RECORD: usize = 8 << 10;

/// How many kills are remembered.
const KILLS: usize = 1000;

/// The kernel's log, each record of which is read once.
#[derive(Debug, Default)]
pub struct KernelLog {
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    /// Opened when it is needed, at the oldest record that is there.
    log: Option<OwnedFd>,
    /// The cgroups of what was killed.
    killed: VecDeque<String>,
}

impl KernelLog {
    /// Whether the kernel has killed processes of the container `id` because memory ran out, as far back as its log
    /// goes. Blocks, at first for some milliseconds.
    pub fn tells_of_kill(&self, id: &str) -> io::Result<bool> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.rest()?;
        Ok(read.killed.iter().any(|cgroup| cgroup.contains(id)))
    }
}

impl Read {
    fn rest(&mut self) -> io::Result<()> {
        let log = match &self.log {
            Some(log) => log,
            None => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                self.log.insert(open(FILE, flags, Mode::empty())?)
            }
        };
        let mut record = [0; RECORD];
        loop {
            match read(log, &mut record[..]) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(length) => {
                    self.killed.extend(killed(&record[..length]));
                    self.killed.drain(..self.killed.len().saturating_sub(KILLS));
                }
                // EPIPE: records were overwritten before they were read, and the next ones follow.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The cgroup that a record says something is killed in.
///
/// A record is `PRIORITY,NUMBER,TIME,FLAGS;TEXT`, where the priority has the facility above its lowest three bits; the
/// kernel's own is 0, and nobody else can write that.
fn killed(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    if priority >> 3 != 0 {
        return None;
    }
    // Why it kills, with the cgroup of the process that it has chosen; it leaves that out where it kills often.
    let victim = || {
        let (_, details) = text.split_once("oom-kill:")?;
        details.split_once("task_memcg=")?.1.split(',').next()
    };
    // That it kills a whole cgroup.
    let group = || {
        let (_, cgroup) = text.split_once("Tasks in ")?;
        let (cgroup, _) = cgroup.split_once(" are going to be killed due to memory.oom.group set")?;
        Some(cgroup)
    };
    victim().or_else(group).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice";

    #[test]
    fn kills_are_told_from_all_else() {
        for (record, told) in [
            (
                format!(
                    "6,900,1000,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=docker-abc.scope,mems_allowed=0,oom_memcg={POD},task_memcg={POD}/docker-abc.scope,task=tail,pid=7,uid=0\n"
                ),
                true,
            ),
            (
                format!(
                    "6,901,1000,-;Tasks in {POD}/docker-abc.scope are going to be killed due to memory.oom.group set\n"
                ),
                true,
            ),
            (
                // Another container of the pod is the victim.
                format!(
                    "6,902,1000,-;oom-kill:constraint=CONSTRAINT_MEMCG,cpuset=docker-abc.scope,oom_memcg={POD},task_memcg={POD}/docker-def.scope,task=tail\n"
                ),
                false,
            ),
            (
                format!(
                    "6,903,1000,-;Tasks in {POD}/docker-def.scope are going to be killed due to memory.oom.group set\n"
                ),
                false,
            ),
            // Written by a process.
            (
                format!("14,904,1000,-;oom-kill:task_memcg={POD}/docker-abc.scope,task=tail\n"),
                false,
            ),
            (
                "6,905,1000,-;Memory cgroup out of memory: Killed process 7 (abc)\n".into(),
                false,
            ),
            (
                "6,906,1000,-;docker0: port abc entered disabled state\n".into(),
                false,
            ),
            ("oom-kill:task_memcg=/abc".into(), false),
            (String::new(), false),
        ] {
            let cgroup = killed(record.as_bytes());
            assert_eq!(
                cgroup.is_some_and(|cgroup| cgroup.contains("abc")),
                told,
                "{record}"
            );
        }
    }
}
