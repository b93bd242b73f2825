//! exec and port-forward through dockside, beside the Engine's own exec.
//!
//!     tests/run.sh [--engine …] --bench streams [-- --trips 60 --megabytes 1000 --sessions 10000]
//!
//! - The round trip of `true`: from the CRI call to the exit code over SPDY, and by the Engine API alone, in turns.
//! - Megabytes through a command's output and through a forwarded port: rate, and processor time of dockside.
//! - 200 commands and 500 forwarded connections at once: memory before, with, and after them.
//! - Thousands of sessions one after the other, of both kinds, a third of them left by their clients: files, threads
//!   and memory before and after.
//!
//! Ends with an error if a call fails, if anything is left open, or if a goal is missed by so much that the machine
//! cannot be why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bare;
#[path = "../../streaming/client.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod client;
#[path = "../fill/machine.rs"]
#[allow(dead_code, reason = "shared with the other benchmark")]
mod machine;
#[path = "../../streaming/spdy.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod spdy;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use cri::{ExecRequest, PortForwardRequest};
use futures_util::future::join_all;
use support::{Daemon, Engine, Env, Runtime, container_of};
use tokio::time::sleep;

use bare::Bare;
use machine::{Memory, Times};
use spdy::{Remote, Spdy};

/// The most that a round trip may take, in the time of the Engine alone; and what is not forgiven.
const GOAL: f64 = 1.15;
const MOST: f64 = 1.4;

/// At once.
const COMMANDS: usize = 200;
const CONNECTIONS: usize = 500;

/// How many of them are made before their echo is waited for; divides their number.
const BACKLOG: usize = 4;

/// How many sessions run beside each other where thousands do.
const BESIDE: usize = 8;

/// How long what was closed may stay open.
const SETTLE: Duration = Duration::from_secs(30);

const MEGABYTE: f64 = 1e6;

struct Node {
    daemon: Daemon,
    runtime: Runtime,
    sandbox: String,
    container: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let (mut trips, mut megabytes, mut sessions) = (60, 1000, 10_000);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let place = match name.as_str() {
            "--trips" => &mut trips,
            "--megabytes" => &mut megabytes,
            "--sessions" => &mut sessions,
            _ => {
                eprintln!("unknown option {name}: there are --trips, --megabytes and --sessions");
                return ExitCode::from(2);
            }
        };
        match arguments.next().map(|value| value.parse()) {
            Some(Ok(value)) => *place = value,
            _ => {
                eprintln!("{name} needs a number; 0 leaves that part out");
                return ExitCode::from(2);
            }
        }
    }
    let version = Engine::get().ask("GET", "/version", None);
    println!(
        "Engine {}; {}",
        version["Version"].as_str().unwrap(),
        machine::describe()
    );
    let node = Node::new(megabytes).await;
    let mut good = true;
    if trips > 0 {
        good &= node.round_trips(trips).await;
    }
    if megabytes > 0 {
        node.throughput(megabytes).await;
    }
    node.at_once().await;
    if sessions > 0 {
        good &= node.leaks(sessions).await;
    }
    println!("load now {}", machine::load());
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Node {
    /// A pod that echoes at port 7000, and at port 7001 sends as many megabytes.
    async fn new(megabytes: usize) -> Self {
        let daemon = support::daemon!().flag("--log-level=info").start().await;
        let image = daemon.pull("busybox:1").await;
        let pod = daemon.pod("streams");
        let sandbox = daemon.run_pod(&pod).await;
        let script = format!(
            "nc -ll -p 7000 -e cat & exec nc -ll -p 7001 -e dd if=/dev/zero bs=1M count={megabytes} 2>/dev/null"
        );
        let config = container_of(&pod, "main", &image, &["sh", "-c", &script]);
        let container = daemon.run_container(&sandbox, &pod, &config).await;
        let listens =
            "for p in 1B58 1B59; do until grep -q \":$p .* 0A \" /proc/net/tcp*; do sleep 0.1; done; done";
        daemon.sh(&container, listens).await;
        Self {
            runtime: daemon.runtime(),
            daemon,
            sandbox,
            container,
        }
    }

    async fn exec(&self, command: &[&str], stdin: bool) -> Remote {
        let request = ExecRequest {
            container_id: self.container.clone(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            stdin,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let url = self.runtime.clone().exec(request).await.unwrap().into_inner().url;
        let kinds: &[_] = if stdin {
            &["stdin", "stdout", "stderr"]
        } else {
            &["stdout", "stderr"]
        };
        Remote::open(&url, kinds).await
    }

    async fn forward(&self) -> Spdy {
        let request = PortForwardRequest {
            pod_sandbox_id: self.sandbox.clone(),
            port: Vec::new(),
        };
        let answer = self.runtime.clone().port_forward(request).await;
        Spdy::open(&answer.unwrap().into_inner().url, "portforward.k8s.io").await
    }

    fn times(&self) -> Duration {
        Times::of(self.daemon.pid()).own
    }

    fn resident(&self) -> f64 {
        Memory::of(self.daemon.pid()).resident
    }

    fn open(&self, what: &str) -> usize {
        let directory = format!("/proc/{}/{what}", self.daemon.pid());
        std::fs::read_dir(directory).unwrap().count()
    }

    async fn round_trips(&self, trips: usize) -> bool {
        let mut bare = Bare::connect().await;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // The first ones open connections.
        for trip in 0..trips + 4 {
            for turn in [trip, trip + 1] {
                let began = Instant::now();
                let times = if turn.is_multiple_of(2) {
                    assert_eq!(self.exec(&["true"], false).await.ended().await.code(), 0);
                    &mut ours
                } else {
                    assert_eq!(bare.exec(&self.container, &["true"]).await, (0, 0));
                    &mut theirs
                };
                if trip >= 4 {
                    times.push(began.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours / theirs;
        println!(
            "exec of `true`, {trips} in turns, medians: dockside {ours:.1} ms, the Engine alone {theirs:.1} ms, \
             ratio {ratio:.3}; goal {GOAL}: {}",
            if ratio <= GOAL { "reached" } else { "missed" }
        );
        ratio <= MOST
    }

    async fn throughput(&self, megabytes: usize) {
        let count = format!("count={megabytes}");
        let command = ["dd", "if=/dev/zero", "bs=1M", &count];
        let engine = || {
            let pid = std::fs::read_to_string(&Env::get().engine_pid).unwrap();
            Times::of(pid.trim().parse().unwrap()).own
        };
        for round in 1..=2 {
            let (began, dockside, dockerd) = (Instant::now(), self.times(), engine());
            let mut remote = self.exec(&command, false).await;
            remote.spdy.keeps = false;
            remote.spdy.take(|spdy| spdy.left).await;
            assert!(remote.spdy.count > megabytes << 20);
            self.rate(
                &format!("exec, round {round}"),
                remote.spdy.count,
                began,
                dockside,
            );
            println!("    dockerd {:.2} s", (engine() - dockerd).as_secs_f64());

            let (began, dockerd) = (Instant::now(), engine());
            let (bytes, code) = Bare::connect().await.exec(&self.container, &command).await;
            assert_eq!(code, 0);
            let took = began.elapsed().as_secs_f64();
            println!(
                "  by the Engine alone: {:.0} MB/s, dockerd {:.2} s",
                bytes as f64 / MEGABYTE / took,
                (engine() - dockerd).as_secs_f64()
            );

            let mut spdy = self.forward().await;
            spdy.keeps = false;
            let (began, dockside) = (Instant::now(), self.times());
            let (_, data) = spdy.dial(7001, 0).await;
            spdy.take(|spdy| spdy.has_ended(data)).await;
            assert_eq!(spdy.count, megabytes << 20);
            self.rate(
                &format!("port-forward, round {round}"),
                spdy.count,
                began,
                dockside,
            );
        }
    }

    fn rate(&self, what: &str, bytes: usize, began: Instant, before: Duration) {
        let (took, megabytes) = (began.elapsed().as_secs_f64(), bytes as f64 / MEGABYTE);
        let processor = (self.times() - before).as_secs_f64();
        println!(
            "{what}: {:.0} MB in {took:.2} s, {:.0} MB/s; processor time of dockside {:.2} s per GB",
            megabytes,
            megabytes / took,
            processor / megabytes * 1e3
        );
    }

    async fn at_once(&self) {
        let before = self.resident();
        let mut commands = Vec::new();
        while commands.len() < COMMANDS {
            commands.extend(join_all((0..BESIDE).map(|_| self.exec(&["cat"], true))).await);
        }
        for remote in &mut commands {
            remote.spdy.send(remote.stdin, "hello").await;
            remote.expect("hello").await;
        }
        let with = self.resident();
        for remote in &mut commands {
            remote.spdy.end(remote.stdin).await;
            assert_eq!(remote.ended().await.code(), 0);
        }
        drop(commands);
        println!(
            "{COMMANDS} commands at once: {before:.1} MB before, {with:.1} MB with, {:.1} MB after",
            self.resident()
        );
        let before = self.resident();
        let mut session = self.forward().await;
        let mut connections = Vec::new();
        for number in 0..CONNECTIONS {
            let (_, data) = session.dial(7000, number).await;
            session.send(data, "hello").await;
            connections.push(data);
            // The pod's server lets few wait to be accepted.
            if connections.len().is_multiple_of(BACKLOG) {
                session.until(|spdy| spdy.count == 5 * connections.len()).await;
            }
        }
        let with = self.resident();
        for data in &connections {
            session.end(*data).await;
        }
        session
            .until(|spdy| connections.iter().all(|data| spdy.has_ended(*data)))
            .await;
        drop(session);
        println!(
            "{CONNECTIONS} forwarded connections at once: {before:.1} MB before, {with:.1} MB with, {:.1} MB after",
            self.resident()
        );
    }

    async fn leaks(&self, sessions: usize) -> bool {
        self.sessions(0..20 * BESIDE).await;
        sleep(Duration::from_secs(2)).await;
        let (files, threads, memory) = (self.open("fd"), self.open("task"), self.resident());
        let began = Instant::now();
        self.sessions(0..sessions).await;
        let took = began.elapsed();
        let end = Instant::now() + SETTLE;
        while (self.open("fd") > files || self.open("task") > threads) && Instant::now() < end {
            sleep(Duration::from_millis(100)).await;
        }
        let left = (self.open("fd"), self.open("task"));
        println!(
            "{sessions} sessions in {:.0} s: files {files} before, {} after; threads {threads} and {}; {memory:.1} MB and {:.1} MB",
            took.as_secs_f64(),
            left.0,
            left.1,
            self.resident()
        );
        left.0 <= files && left.1 <= threads
    }

    async fn sessions(&self, numbers: std::ops::Range<usize>) {
        let end = numbers.end;
        for first in numbers.step_by(BESIDE) {
            join_all((first..end.min(first + BESIDE)).map(|number| self.session(number))).await;
        }
    }

    /// A command or a forwarded connection; each third is left by its client.
    async fn session(&self, number: usize) {
        if number.is_multiple_of(2) {
            let mut spdy = self.forward().await;
            let (_, data) = spdy.dial(7000, 0).await;
            spdy.send(data, "hello").await;
            spdy.until(|spdy| spdy.text(data) == "hello").await;
            if !number.is_multiple_of(3) {
                spdy.end(data).await;
                spdy.until(|spdy| spdy.has_ended(data)).await;
            }
            return;
        }
        let mut remote = self.exec(&["cat"], true).await;
        if !number.is_multiple_of(3) {
            remote.spdy.end(remote.stdin).await;
            assert_eq!(remote.ended().await.code(), 0);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
