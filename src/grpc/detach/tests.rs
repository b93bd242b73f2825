#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{sync::mpsc, time::Instant};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tonic::Code;

use super::*;

#[tokio::test]
async fn the_result_comes_back_whichever_it_is() {
    let detached = Detached::default();
    assert_eq!(
        detached
            .run("Version", async { Ok::<_, Status>(7) })
            .await
            .unwrap(),
        7
    );
    let refused = detached
        .run("Version", async {
            Err::<(), _>(Status::not_found("no such pod"))
        })
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_call_outlives_its_caller() {
    let detached = Detached::default();
    let (go, gone) = oneshot::channel::<()>();
    let (done, answer) = oneshot::channel();
    let call = detached.run("RunPodSandbox", async move {
        gone.await.unwrap();
        sleep(Duration::from_millis(20)).await;
        done.send("made").unwrap();
        Ok::<_, Status>(())
    });
    assert!(
        timeout(Duration::from_millis(10), call).await.is_err(),
        "the caller gives up"
    );
    go.send(()).unwrap();
    assert_eq!(answer.await.unwrap(), "made");
    assert_eq!(detached.wait(Duration::from_secs(5)).await, 0);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_that_names_the_rpc() {
    let detached = Detached::default();
    let number = 3;
    let status = detached
        .run("StopContainer", async move {
            assert_eq!(number, 4, "bad luck");
            Ok::<_, Status>(())
        })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(
        status.message().starts_with("StopContainer: internal fault: "),
        "{status}"
    );
    assert!(status.message().contains("bad luck"), "{status}");
    assert_eq!(
        detached.wait(Duration::ZERO).await,
        0,
        "a panicked call no longer counts"
    );
}

#[tokio::test]
async fn waiting_ends_with_the_grace() {
    let detached = Detached::default();
    let clone = detached.clone();
    let (never, wait) = oneshot::channel::<()>();
    let caller = tokio::spawn(async move {
        clone
            .run("RemovePodSandbox", async move {
                let _ = wait.await;
                Ok::<_, Status>(())
            })
            .await
    });
    tokio::task::yield_now().await;
    let started = Instant::now();
    assert_eq!(detached.wait(Duration::from_millis(30)).await, 1);
    assert!(started.elapsed() >= Duration::from_millis(30));
    drop(never);
    assert_eq!(detached.wait(Duration::from_secs(5)).await, 0);
    caller.await.unwrap().unwrap();
}

#[test]
fn a_runtime_that_ends_is_not_a_panic() {
    let (sender, receiver) = mpsc::channel();
    let inner = tokio::runtime::Runtime::new().unwrap();
    let detached = Detached::default();
    // The call runs on a runtime that ends, its caller on another one.
    let entered = inner.enter();
    let waiting = async move {
        detached
            .run("Attach", async move {
                sender.send(()).unwrap();
                std::future::pending::<Result<(), Status>>().await
            })
            .await
    };
    drop(entered);
    let outer = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = outer.block_on(async {
        let mut waiting = Box::pin(waiting);
        {
            let _entered = inner.enter();
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        receiver.recv().unwrap();
        inner.shutdown_background();
        waiting.await
    });
    assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
}
