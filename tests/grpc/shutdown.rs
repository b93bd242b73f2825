//! How connections end, at shutdown and by themselves.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use dockside::grpc::listen::Ending;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{sleep, timeout},
};

use crate::server::{Client, Fixed, NO_SETTINGS, PATIENCE, PREFACE, Server, answered, python, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_answered_at_shutdown() {
    let fixed = Fixed::slow(Duration::from_secs(4));
    let server = Server::start(fixed.clone(), &["x.sock"], PATIENCE).await;
    let target = format!("unix:{}", server.socket("x.sock").display());
    let client = python(&target, 1, 1).spawn().unwrap();
    until(|| fixed.begun.load(Ordering::SeqCst) == 1).await;
    let socket = server.socket("x.sock");
    let stopping = tokio::spawn(server.stop());
    until(|| !accepts(&socket)).await;
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 0, "still under way");
    assert_eq!(stopping.await.unwrap(), (Ending::Complete, vec![]));
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 1);
    answered(&client.wait_with_output().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_is_cut_off_after_the_grace() {
    let fixed = Fixed::slow(Duration::from_secs(600));
    let server = Server::start(fixed.clone(), &["x.sock"], Duration::from_millis(300)).await;
    let client = python(&format!("unix:{}", server.socket("x.sock").display()), 1, 1)
        .spawn()
        .unwrap();
    until(|| fixed.begun.load(Ordering::SeqCst) == 1).await;
    let started = Instant::now();
    assert_eq!(server.stop().await, (Ending::CutOff, vec![]));
    assert!(started.elapsed().as_millis() >= 300, "{:?}", started.elapsed());
    until(|| fixed.gone.load(Ordering::SeqCst) == 1).await;
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 0);
    let output = client.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("UNAVAILABLE"),
        "its connection is closed: {output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_calls_of_a_connection_are_answered_at_shutdown() {
    let fixed = Fixed::slow(Duration::from_millis(1500));
    let server = Server::start(fixed.clone(), &["x.sock"], PATIENCE).await;
    let mut client = Client::connect(&server.socket("x.sock")).await;
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(client.call(None))).collect();
    until(|| fixed.begun.load(Ordering::SeqCst) == 50).await;
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
    for call in calls {
        assert_eq!(call.await.unwrap().code, "0");
    }
    let ended = timeout(PATIENCE, client.connection).await;
    // With a GOAWAY, without an error; unless the client still had to say something.
    if let Err(error) = ended.expect("it is closed").unwrap() {
        assert!(error.is_io(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_do_not_delay_the_end() {
    let server = Server::start(Fixed::default(), &["x.sock"], PATIENCE).await;
    let mut clients = Vec::new();
    for said in [&[], &PREFACE[..10]] {
        let mut client = UnixStream::connect(server.socket("x.sock")).await.unwrap();
        client.write_all(said).await.unwrap();
        clients.push(client);
    }
    // Most often accepted by then, which is the harder case.
    sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
    // Not only when such clients are closed anyway.
    assert!(started.elapsed().as_millis() < 9900, "{:?}", started.elapsed());
    for mut client in clients {
        is_closed(&mut client).await;
    }
}

/// As a process that is stopped by a signal: it has connected, and answers neither ping nor GOAWAY.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_delays_the_end_by_a_moment_only() {
    let server = Server::start(Fixed::default(), &["x.sock"], Duration::from_secs(25)).await;
    let mut client = UnixStream::connect(server.socket("x.sock")).await.unwrap();
    client.write_all(&[PREFACE, NO_SETTINGS].concat()).await.unwrap();
    client.read_u8().await.expect("it is served");
    // It would be cut off, if the whole grace were its.
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
    is_closed(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_are_closed_in_the_end() {
    let server = Server::start(Fixed::default(), &["x.sock"], Duration::from_secs(10)).await;
    let connect = || UnixStream::connect(server.socket("x.sock"));
    let started = Instant::now();
    let (mut silent, mut halting, mut idle) = (
        connect().await.unwrap(),
        connect().await.unwrap(),
        Client::connect(&server.socket("x.sock")).await,
    );
    halting.write_all(&PREFACE[..10]).await.unwrap();
    is_closed(&mut silent).await;
    is_closed(&mut halting).await;
    assert!(started.elapsed().as_millis() >= 9900, "{:?}", started.elapsed());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(idle.call(None).await.code, "0", "one that is only idle stays");
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}

/// Whether anybody is let in.
fn accepts(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

async fn is_closed(client: &mut UnixStream) {
    let mut rest = Vec::new();
    // Closing with something unread is told as a reset.
    let _ = timeout(PATIENCE, client.read_to_end(&mut rest))
        .await
        .expect("it is closed");
}
