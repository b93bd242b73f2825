//! Calls that outlive their callers.
//!
//! The server drops the future of a call when the client cancels it or its `grpc-timeout` passes, wherever that
//! future happens to wait. A sandbox half made would be left behind, and the kubelet's next try would
//! meet it. So everything that changes the node runs in a task of its own; the caller only waits for it.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::trace;

/// A call that ended without an answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A fault of this program.
    #[error("{rpc}: internal fault: {message}")]
    Panicked {
        /// Name of the RPC.
        rpc: &'static str,
        /// What the panic said.
        message: String,
    },
    /// The runtime went away below the call.
    #[error("{rpc}: given up because the server exits")]
    Stopped {
        /// Name of the RPC.
        rpc: &'static str,
    },
}

impl From<Broken> for Status {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Panicked { .. } => Self::internal(broken.to_string()),
            Broken::Stopped { .. } => Self::unavailable(broken.to_string()),
        }
    }
}

/// Where detached calls are counted. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Detached {
    calls: TaskTracker,
}

impl Detached {
    /// Runs `call` to its end whatever becomes of the caller, and answers with its result.
    ///
    /// # Errors
    ///
    /// Those of `call`, and [`Broken`] if it panics.
    pub async fn run<T, E>(
        &self,
        rpc: &'static str,
        call: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Broken> + Send + 'static,
    {
        // The panic is caught inside the task, so that it is reported even when nobody waits any more.
        let task = async move {
            let ended = AssertUnwindSafe(call).catch_unwind().await;
            ended.unwrap_or_else(|payload| {
                let message = text_of(payload.as_ref());
                tracing::error!(rpc, message, "a call panicked");
                Err(Broken::Panicked { rpc, message }.into())
            })
        };
        let ended = self.calls.spawn(trace::carried(task)).await;
        ended.unwrap_or_else(|_| Err(Broken::Stopped { rpc }.into()))
    }

    /// Waits for the calls under way, at most for `grace`, and says how many are still running.
    pub async fn wait(&self, grace: Duration) -> usize {
        self.calls.close();
        let _ = timeout(grace, self.calls.wait()).await;
        self.calls.len()
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests;
