//! What it costs to be polled as a kubelet polls.
//!
//!     tests/run.sh [--engine …] --bench poll [-- --pods 10,50,125,250 --seconds 30 --svg FILE]
//!     … -- --socket /run/containerd/containerd.sock --image busybox:1.36
//!
//! Fills a node with pods of two containers in the host's network, and at each number of pods measures what one call
//! takes (the client's time, and the server's processor time by the kernel's count), and then what being
//! polled by a kubelet's calendar takes of dockside, of dockerd, and of memory. With `--socket` the server is
//! whoever serves CRI there.
//!
//! Ends with an error if a call fails, or if a goal is missed by so much that the machine cannot be why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod calls;
#[path = "../fill/machine.rs"]
#[expect(dead_code, reason = "shared with the other benchmark")]
mod machine;
mod node;
mod options;
mod plot;
mod processor;
mod report;
#[path = "../server.rs"]
mod server;

use std::{process::ExitCode, time::Duration};

use calls::Kubelet;
use node::Node;
use options::Options;
use processor::Usage;
use report::{Report, Row};

/// For what starts and stops leave to be done.
const SETTLE: Duration = Duration::from_secs(4);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let mut node = Node::new(&options).await;
    let mut report = Report::new(&node);
    for &pods in &options.pods {
        let known = node.pods().len();
        node.fill_up_to(pods).await;
        tokio::time::sleep(SETTLE).await;
        let row = measure(&mut node, &options, known).await;
        report.push(row);
    }
    node.clear().await;
    if let Some(path) = &options.svg {
        std::fs::write(path, plot::svg(report.rows())).unwrap();
    }
    println!("{report}");
    if report.acceptable() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn measure(node: &mut Node, options: &Options, known: usize) -> Row {
    let mut kubelet = Kubelet::new(node.channel().await, node.pods(), known);
    let calls = kubelet.time_calls(node.server()).await;
    // What dockerd does when nobody asks it anything.
    let time = Duration::from_secs(options.seconds);
    let idle = node.engine().map(Usage::of);
    tokio::time::sleep(time).await;
    let idle = idle.map(|before| before.share());
    let (server, engine) = (Usage::of(node.server()), node.engine().map(Usage::of));
    kubelet.poll(time).await;
    Row {
        pods: node.pods().len(),
        calls,
        server: server.share(),
        engine: engine.map(|before| before.share()),
        engine_idle: idle,
        memory: machine::Memory::of(node.server()),
    }
}
