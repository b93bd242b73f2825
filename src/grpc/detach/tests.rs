#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Instant,
};

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

/// Collects what is logged, with the span it was logged in.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_span_goes_along_and_the_panic_is_logged_in_it() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let detached = Detached::default();
            let call = detached.run::<(), Status>("StartContainer", async {
                tracing::info!("under way");
                sleep(Duration::from_millis(10)).await;
                panic!("out of luck")
            });
            let call = call.instrument(tracing::info_span!("call", id = 42));
            assert!(
                timeout(Duration::from_millis(1), call).await.is_err(),
                "the caller is gone by the panic"
            );
            assert_eq!(detached.wait(Duration::from_secs(5)).await, 0);
        });
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = |part: &str| {
        text.lines()
            .find(|line| line.contains(part))
            .map(str::to_owned)
            .unwrap()
    };
    assert!(line("under way").contains("call{id=42}"), "{text}");
    let panic = line("a call panicked");
    assert!(
        panic.contains("call{id=42}") && panic.contains("StartContainer") && panic.contains("out of luck")
    );
    assert!(panic.contains("ERROR"), "{text}");
}
