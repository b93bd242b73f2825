//! What the daemon says of the Engine.

use std::time::{Duration, Instant};

use cri::StatusRequest;
use support::Daemon;

/// dockside gives the Engine 0.8 s; the rest is for a loaded machine. Any other call is given up after two minutes.
const SOON: Duration = Duration::from_secs(30);

/// The `RuntimeReady` condition, which must come soon even from an Engine that does not answer.
pub(crate) async fn ready(daemon: &Daemon) -> (bool, String) {
    let began = Instant::now();
    let answer = daemon.runtime().status(StatusRequest { verbose: true }).await;
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");
    let conditions = answer.unwrap().into_inner().status.unwrap().conditions;
    let condition = conditions
        .into_iter()
        .find(|condition| condition.r#type == "RuntimeReady")
        .unwrap();
    (condition.status, condition.message)
}

/// Waits until the Engine is reported as ready.
pub(crate) async fn recovers(daemon: &Daemon) {
    let began = Instant::now();
    while !ready(daemon).await.0 {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
