//! How much longer it takes to fill a node with pods through dockside than by the Engine alone.
//!
//!     tests/run.sh [--engine …] --bench fill [-- --pods 50 --rounds 3 --parallel 8]
//!
//! Each round fills the node twice: through dockside, by the CRI calls that a kubelet makes and with a
//! CNI bridge; and by the Engine API alone, with the same containers (the bodies are read back from
//! the Engine) but no network. Which one goes first changes from round to round, so that a drift of the machine
//! cancels out. Removal is not measured.
//!
//! Ends with an error if a call fails, or if a goal is missed by so much that the machine cannot be why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bare;
mod kubelet;
mod machine;
mod options;
mod report;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use support::{EngineProxy, Env};

use bare::Bare;
use kubelet::Kubelet;
use machine::{Memory, Times};
use options::Options;
use report::Report;

/// Between rounds, for what the kernel takes down by itself: network namespaces, control groups.
const SETTLE: Duration = Duration::from_secs(2);

/// What one filling took.
struct Took {
    wall: Duration,
    /// Processor time of the whole machine, others' work included.
    machine: Duration,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let calls = engine_calls().await;
    let report = measure(&options, calls).await;
    println!("{report}");
    if report.acceptable() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The Engine calls of one pod, counted apart from the rounds: a proxy takes time.
async fn engine_calls() -> String {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let kubelet = Kubelet::of(&daemon).await;
    // What is learnt once is not the pod's.
    kubelet.run_pod(daemon.pod("first")).await;
    proxy.take();
    kubelet.run_pod(daemon.pod("second")).await;
    let calls = proxy.take();
    kubelet.remove_pods(1).await;
    format!("{}\n{calls}", calls.total())
}

async fn measure(options: &Options, calls: String) -> Report {
    let daemon = support::daemon!().flag("--log-level=info").start().await;
    let kubelet = Kubelet::of(&daemon).await;
    let sample = kubelet.run_pod(daemon.pod("sample")).await;
    let bare = Bare::like(&sample, &daemon);
    kubelet.remove_pods(1).await;

    let mut report = Report::new(options, calls);
    for round in 0..options.rounds {
        for turn in [round, round + 1] {
            tokio::time::sleep(SETTLE).await;
            if turn % 2 == 0 {
                let pods: Vec<_> = (0..options.pods)
                    .map(|n| daemon.pod(&format!("fill-{round}-{n}")))
                    .collect();
                let before = Times::of(daemon.pid());
                let took = fill(pods, options.parallel, |pod| {
                    let kubelet = kubelet.clone();
                    async move { drop(kubelet.run_pod(pod).await) }
                })
                .await;
                let times = Times::of(daemon.pid()) - before;
                kubelet.look_around().await;
                report.through_dockside(took, times, Memory::of(daemon.pid()));
                kubelet.remove_pods(options.parallel).await;
            } else {
                let took = fill(0..options.pods, options.parallel, |n| {
                    let bare = bare.clone();
                    async move { bare.run_pod(&format!("{round}-{n}")).await }
                })
                .await;
                report.by_the_engine(took);
                bare.remove_pods(options.parallel).await;
            }
        }
        println!("{}", report.last_round());
    }
    let pods: Vec<_> = (0..options.pods)
        .map(|n| daemon.pod(&format!("seen-{n}")))
        .collect();
    report.relists[0] = kubelet
        .relisted(fill(pods, options.parallel, |pod| {
            let kubelet = kubelet.clone();
            async move { drop(kubelet.run_pod(pod).await) }
        }))
        .await;
    report.relists[1] = kubelet.relisted(kubelet.remove_pods(options.parallel)).await;
    report
}

/// Does `run` to all `pods`, `parallel` at a time.
async fn fill<P, R>(pods: impl IntoIterator<Item = P>, parallel: usize, run: impl Fn(P) -> R) -> Took
where
    R: Future<Output = ()> + Send + 'static,
{
    let (began, busy) = (Instant::now(), machine::busy());
    in_parallel(pods, parallel, run).await;
    Took {
        wall: began.elapsed(),
        machine: machine::busy() - busy,
    }
}

async fn in_parallel<P, R>(pods: impl IntoIterator<Item = P>, parallel: usize, run: impl Fn(P) -> R)
where
    R: Future<Output = ()> + Send + 'static,
{
    stream::iter(pods)
        .map(|pod| tokio::spawn(run(pod)))
        .buffer_unordered(parallel)
        .for_each(async |ran| ran.unwrap())
        .await;
}

/// The Engine, for the head of the report.
fn engine() -> String {
    let version = support::Engine::get().ask("GET", "/version", None);
    format!(
        "{} ({})",
        version["Version"].as_str().unwrap(),
        Env::get().engine_name
    )
}
