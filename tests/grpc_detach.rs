//! What a detached call logs. In a process of its own, because the log's receiver is the process's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dockside::grpc::detach::Detached;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tracing::Instrument;

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
    tracing::subscriber::set_global_default(subscriber).unwrap();
    {
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
            assert_eq!(detached.wait(Duration::from_secs(30)).await, 0);
        });
    }
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
