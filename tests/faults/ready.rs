//! What the daemon says of the Engine.

use std::time::{Duration, Instant};

use cri::StatusRequest;
use support::Daemon;

/// The `RuntimeReady` condition, which must come within a second.
pub(crate) async fn ready(daemon: &Daemon) -> (bool, String) {
    let began = Instant::now();
    let answer = daemon.runtime().status(StatusRequest { verbose: true }).await;
    assert!(
        began.elapsed() < Duration::from_millis(1000),
        "{:?}",
        began.elapsed()
    );
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
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
