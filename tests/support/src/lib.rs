//! What the tests of the whole daemon share: the environment that `tests/run.sh` makes, a daemon with
//! sockets and networks of its own, CRI clients, configurations of pods, a proxy in front of the
//! Engine, and a client of the Engine's by which tests judge what the daemon says.
//!
//! Everything here panics with a reason when it cannot do its work: a test has no use for an error.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod client;
mod collector;
mod daemon;
mod engine;
mod env;
mod options;
mod pods;
mod polling;
mod proxy;
mod steps;
mod tls;
mod wait;

pub use calls::{Call, Calls};
pub use client::{Cri, Images, Runtime};
pub use collector::{Collector, Span};
pub use daemon::Daemon;
pub use engine::Engine;
pub use env::Env;
pub use options::Options;
pub use pods::{DEAF, SLEEP, container, container_of, pod, pod_labels};
pub use polling::poll;
pub use proxy::{Action, EngineProxy, Rule};
pub use tls::trusting;
pub use wait::eventually;

/// The options of a daemon that is the program of the package under test. Only the integration tests
/// of that package know where it is.
#[macro_export]
macro_rules! daemon {
    () => {
        $crate::Options::new(env!("CARGO_BIN_EXE_dockside"))
    };
}
