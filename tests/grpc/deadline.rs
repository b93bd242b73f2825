//! Calls whose callers do not wait for ever.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use dockside::grpc::listen::Ending;

use crate::server::{Client, Fixed, Server, python, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_dropped_and_answered() {
    let fixed = Fixed::slow(Duration::from_secs(4));
    let server = Server::start(fixed.clone(), &["x.sock"], Duration::from_secs(10)).await;
    let mut client = Client::connect(&server.socket("x.sock")).await;
    let (patient, unlimited) = (
        tokio::spawn(client.call(Some("60S"))),
        tokio::spawn(client.call(None)),
    );
    until(|| fixed.begun.load(Ordering::SeqCst) == 2).await;
    let started = Instant::now();
    let answer = client.call(Some("200m")).await;
    assert!(started.elapsed().as_millis() >= 200, "{:?}", started.elapsed());
    assert_eq!(answer.code, "4", "{answer:?}");
    assert!(answer.trailers_only, "{answer:?}");
    assert!(
        answer.message.contains("Version") && answer.message.contains("200ms"),
        "{answer:?}"
    );
    assert_eq!(fixed.gone.load(Ordering::SeqCst), 1, "its future is dropped");
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 0);
    // The others on the connection go on.
    for call in [patient, unlimited] {
        assert_eq!(call.await.unwrap().code, "0");
    }
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 2);
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_any_time_does_not_begin() {
    let fixed = Fixed::default();
    let server = Server::start(fixed.clone(), &["x.sock"], Duration::from_secs(10)).await;
    let mut client = Client::connect(&server.socket("x.sock")).await;
    let answer = client.call(Some("0n")).await;
    assert_eq!(answer.code, "4", "{answer:?}");
    assert_eq!(fixed.begun.load(Ordering::SeqCst), 0);
    assert_eq!(
        client.call(Some("1x")).await.code,
        "0",
        "no timeout is meant by that"
    );
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}

/// grpcio keeps no deadline that it is given as metadata, so that the status is the server's.
#[tokio::test(flavor = "multi_thread")]
async fn python_reads_deadline_exceeded() {
    let fixed = Fixed::slow(Duration::from_secs(600));
    let server = Server::start(fixed.clone(), &["x.sock"], Duration::from_secs(10)).await;
    let target = format!("unix:{}", server.socket("x.sock").display());
    let output = python(&target, 1, 1).args(["", "300m"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("StatusCode.DEADLINE_EXCEEDED: Version: "),
        "{output:?}"
    );
    assert_eq!(fixed.gone.load(Ordering::SeqCst), 1);
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}
