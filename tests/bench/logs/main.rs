//! What container logs cost, and whether they are whole.
//!
//!     tests/run.sh [--engine …] --bench logs [-- --megabytes 500 --rounds 2 --quiet 250]
//!
//! Containers write 100-byte lines as fast as they can: one, then twenty at once, in each round by the Engine
//! alone (the same json-file options, and nobody follows) and through dockside. Then come the latency of lines
//! at 1000 a second, 1 GB with 20 rotations and 20 kills of dockside, and what quiet containers cost.
//!
//! Ends with an error if a line is missing, doubled or out of order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../fill/machine.rs"]
#[allow(dead_code, reason = "shared with another benchmark")]
mod machine;
mod many;
mod node;
mod whole;

use std::{fs, time::Duration};

use machine::Times;
use node::{Node, Way};
use support::Env;

/// The size of a line with its newline.
const LINE: usize = 100;

/// Containers that write at once.
const AT_ONCE: usize = 20;

struct Options {
    megabytes: usize,
    rounds: usize,
    quiet: usize,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self {
            megabytes: 500,
            rounds: 2,
            quiet: 250,
        };
        // cargo adds `--bench` by itself.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let place = match name.as_str() {
                "--megabytes" => &mut options.megabytes,
                "--rounds" => &mut options.rounds,
                "--quiet" => &mut options.quiet,
                _ => panic!("unknown option {name}: there are --megabytes, --rounds and --quiet"),
            };
            *place = arguments
                .next()
                .and_then(|value| value.parse().ok())
                .expect("a number");
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
            report(containers, lines * containers * LINE, took[0].1, took[1].1);
        }
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

fn report(containers: usize, bytes: usize, alone: Took, through: Took) {
    let rate = |took: Took| bytes as f64 / 1e6 / took.wall.as_secs_f64();
    let per_gb = |time: Duration| time.as_secs_f64() / (bytes as f64 / 1e9);
    println!(
        "{containers:>2} containers: json-file alone {:.0} MB/s, dockerd {:.2} s/GB; with dockside {:.0} MB/s, \
         dockerd {:.2} + dockside {:.2} s/GB; processor time × {:.2}, wall time × {:.2}",
        rate(alone),
        per_gb(alone.engine),
        rate(through),
        per_gb(through.engine),
        per_gb(through.dockside),
        (through.engine + through.dockside).as_secs_f64() / (alone.engine + alone.dockside).as_secs_f64(),
        through.wall.as_secs_f64() / alone.wall.as_secs_f64(),
    );
}
