//! What container logs cost, and whether they are whole.
//!
//!     tests/run.sh [--engine …] --bench logs [-- --megabytes 500 --rounds 2 --quiet 250 [--socket PATH --image NAME]]
//!
//! Containers write 100-byte lines as fast as they can: one, then twenty at once, in each round by the Engine
//! alone (the same json-file options, and nobody follows), through dockside and, with `--socket`, by the CRI server
//! that serves there, whose image NAME has a shell. Then come the latency of lines
//! at 1000 a second, 1 GB with 20 rotations and 20 kills of dockside, and what quiet containers cost.
//!
//! Ends with an error if a line is missing, doubled or out of order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../fill/machine.rs"]
#[allow(dead_code, reason = "shared with another benchmark")]
mod machine;
mod many;
mod node;
mod other;
#[path = "../server.rs"]
mod server;
mod whole;

use std::{fs, path::PathBuf, time::Duration};

use machine::Times;
use node::{Node, Way};
use other::Other;
use support::Env;

/// The size of a line with its newline.
const LINE: usize = 100;

/// Containers that write at once.
const AT_ONCE: usize = 20;

struct Options {
    megabytes: usize,
    rounds: usize,
    quiet: usize,
    socket: Option<PathBuf>,
    image: String,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self {
            megabytes: 500,
            rounds: 2,
            quiet: 250,
            socket: None,
            image: String::new(),
        };
        // cargo adds `--bench` by itself.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
            let place = match name.as_str() {
                "--megabytes" => &mut options.megabytes,
                "--rounds" => &mut options.rounds,
                "--quiet" => &mut options.quiet,
                "--socket" => {
                    options.socket = Some(value.into());
                    continue;
                }
                "--image" => {
                    options.image = value;
                    continue;
                }
                _ => panic!(
                    "unknown option {name}: there are --megabytes, --rounds, --quiet, --socket and --image"
                ),
            };
            *place = value.parse().expect("a number");
        }
        options
    }
}

/// What some containers took to write their lines.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    engine: Duration,
    dockside: Duration,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    println!("{}, Engine {}", machine::describe(), Env::get().engine_name);
    let mut node = Node::new().await;
    let mut other = match &options.socket {
        Some(socket) => Some(Other::new(socket.clone(), options.image.clone()).await),
        None => None,
    };
    for containers in [1, AT_ONCE] {
        let lines = options.megabytes * 1_000_000 / LINE / containers;
        let script = format!("yes {} | head -n {lines}", "x".repeat(LINE - 1));
        for round in 0..options.rounds {
            let mut took = Vec::new();
            for turn in [round, round + 1] {
                let way = if turn % 2 == 0 { Way::Engine } else { Way::Dockside };
                let ready = node
                    .create(way, &format!("w{containers}-{round}"), containers, &script)
                    .await;
                let before = times(&node);
                let wall = node.run(&ready).await;
                let after = times(&node);
                took.push((
                    way,
                    Took {
                        wall,
                        engine: after.0 - before.0,
                        dockside: after.1 - before.1,
                    },
                ));
                node.remove(&ready).await;
            }
            took.sort_by_key(|(way, _)| *way);
            let bytes = lines * containers * LINE;
            report(containers, bytes, took[0].1, took[1].1);
            if let Some(other) = &mut other {
                let (wall, server) = other
                    .run(&format!("w{containers}-{round}"), containers, &script)
                    .await;
                println!(
                    "{containers:>2} containers: by the other server {:.0} MB/s, {:.2} s/GB; processor time × {:.2} of \
                     json-file alone",
                    rate(bytes, wall),
                    per_gb(bytes, server),
                    server.as_secs_f64() / took[0].1.engine.as_secs_f64()
                );
            }
        }
    }
    if let Some(other) = other {
        other.remove().await;
    }
    whole::latency(&mut node).await;
    whole::rotations_and_kills(&mut node).await;
    many::quiet_and_busy(&mut node, options.quiet).await;
}

/// Processor time of the Engine, and of dockside.
fn times(node: &Node) -> (Duration, Duration) {
    let engine = fs::read_to_string(&Env::get().engine_pid)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    (Times::of(engine).own, Times::of(node.daemon.pid()).own)
}

/// MB in a second.
fn rate(bytes: usize, wall: Duration) -> f64 {
    bytes as f64 / 1e6 / wall.as_secs_f64()
}

/// Seconds for each GB.
fn per_gb(bytes: usize, time: Duration) -> f64 {
    time.as_secs_f64() / (bytes as f64 / 1e9)
}

fn report(containers: usize, bytes: usize, alone: Took, through: Took) {
    println!(
        "{containers:>2} containers: json-file alone {:.0} MB/s, dockerd {:.2} s/GB; with dockside {:.0} MB/s, \
         dockerd {:.2} + dockside {:.2} s/GB; processor time × {:.2}, wall time × {:.2}",
        rate(bytes, alone.wall),
        per_gb(bytes, alone.engine),
        rate(bytes, through.wall),
        per_gb(bytes, through.engine),
        per_gb(bytes, through.dockside),
        (through.engine + through.dockside).as_secs_f64() / (alone.engine + alone.dockside).as_secs_f64(),
        through.wall.as_secs_f64() / alone.wall.as_secs_f64(),
    );
}
