use tracing::{info, warn};
use translate::{container, resources::AfterStart};

use super::Containers;
use crate::error::{Error, Result};

impl Containers {
    /// Starts a container.
    pub async fn start(&self, id: &str) -> Result<()> {
        let container = self.store.container(id).await?;
        let id = &container.id;
        let _lock = self.locks.shared(&container.sandbox_id).await;
        let host = self.node.view().await;
        let after = container::after_start(&container.record, &*self.engine.facts().await?, &host)?;
        // The log is there when the container is, even if it has nothing to say yet.
        if let Some(spec) = container.logs(&self.engine.root_dir().await?) {
            let place = container.record.log_path.as_str();
            self.logs
                .prepare(id, spec)
                .await
                .map_err(Error::host(format!("make the log {place}")))?;
        }
        let _changing = self.store.changing(id);
        if let Err(error) = self.engine.start_container(id).await {
            if error.is_not_found() {
                // Also said where a namespace that is to be joined is gone.
                return match self.store.inspect_container(id).await {
                    Ok(_) => Err(Error::Precondition(error.to_string())),
                    Err(gone) => Err(gone),
                };
            }
            if error.status().is_some() {
                self.store.container_cannot_run(id);
            }
            return Err(error.into());
        }
        self.apply(id, &after).await;
        info!(id, "container started");
        Ok(())
    }

    /// Does what the Engine API cannot say. A process that has ended needs it no more, and a file that
    /// the kernel does not have is no reason to take a running container away from its user.
    async fn apply(&self, id: &str, after: &AfterStart) {
        if after.is_empty() {
            return;
        }
        let pid = match self.engine.inspect_container(id).await {
            Ok(inspect) => inspect.state.pid,
            Err(error) => return warn!(id, "cannot set the limits that go beyond the engine API: {error}"),
        };
        if pid == 0 {
            return;
        }
        for error in self.keeper.hold(id, pid).await.apply(after).await {
            warn!(id, "{error}");
        }
    }

    /// Goes on to keep what was written into the cgroups of containers that run since before this dockside did.
    pub async fn resume(&self) -> Result<()> {
        let running = cri::ContainerFilter {
            state: Some(cri::ContainerStateValue {
                state: cri::ContainerState::ContainerRunning.into(),
            }),
            ..Default::default()
        };
        let (host, facts) = (self.node.view().await, self.engine.facts().await?);
        for view in self.store.containers(&running).await? {
            let id = &view.container.id;
            let (record, current) = (&view.container.record, &view.inspect.host_config);
            match container::left_after_start(record, current, &facts, &host) {
                Ok(left) => self.keeper.resume(id, view.inspect.state.pid, &left).await,
                Err(error) => warn!(id, "{error}"),
            }
        }
        Ok(())
    }
}
