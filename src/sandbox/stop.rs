use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::info;
use translate::ContainerId;

use super::Sandboxes;
use crate::error::Result;

impl Sandboxes {
    /// Stops a sandbox with everything in it. One that is stopped, or does not exist, is fine.
    pub async fn stop(&self, id: &str, deadline: Instant) -> Result<()> {
        let sandbox = match self.store.sandbox(id).await {
            Err(error) if error.is_not_found() => return self.disconnect_lost(id, deadline).await,
            other => other?,
        };
        let id = &sandbox.id;
        let _lock = self.locks.exclusive(id).await;
        // 1. Members are killed: who wanted them to end well has stopped them before.
        let running = cri::ContainerStateValue {
            state: cri::ContainerState::ContainerRunning.into(),
        };
        self.each_member(
            id,
            Some(running),
            |member| async move { self.kill(&member).await },
        )
        .await?;
        // 2. The network, while its namespace is there. Repeated until it has succeeded once.
        if !sandbox.host_network {
            self.adopt_network(&sandbox).await?;
            self.network
                .disconnect(id, Some(&sandbox.record), deadline)
                .await?;
        }
        // 3. The pause container.
        self.kill(id).await?;
        info!(id, "sandbox stopped");
        Ok(())
    }

    /// Takes down what a sandbox that was removed behind our back may have left: its network.
    pub(super) async fn disconnect_lost(&self, id: &str, deadline: Instant) -> Result<()> {
        if !ContainerId::parse(id).is_some_and(|id| id.is_whole()) {
            return Ok(());
        }
        let _lock = self.locks.exclusive(id).await;
        self.network.disconnect(id, None, deadline).await
    }

    pub(super) async fn kill(&self, id: &str) -> Result<()> {
        let stopped = self.engine.stop_container(id, Duration::ZERO).await;
        self.store.changed(id);
        match stopped {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Does the same to all containers of a sandbox that are in `state`, at once; the first error is
    /// returned at the end.
    pub(super) async fn each_member<F: Future<Output = Result<()>>>(
        &self,
        id: &str,
        state: Option<cri::ContainerStateValue>,
        action: impl Fn(String) -> F,
    ) -> Result<()> {
        let filter = cri::ContainerFilter {
            pod_sandbox_id: id.into(),
            state,
            ..Default::default()
        };
        let members = self.store.ask_containers(&filter).await?;
        let done: Vec<Result<()>> = join_all(members.into_iter().map(|member| action(member.id))).await;
        done.into_iter().collect()
    }
}
