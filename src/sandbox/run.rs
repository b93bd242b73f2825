use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};
use translate::{
    Invalid, required,
    sandbox::{self, SandboxPlan, SandboxRequest},
    security,
};

use super::Sandboxes;
use crate::{
    clock,
    container::remove::take_away,
    error::{Error, Result},
    host::files,
    trace,
};

/// The time that taking a half-made sandbox back may take, beyond the call's own.
const UNDO: Duration = Duration::from_secs(60);

impl Sandboxes {
    /// Makes a sandbox and returns its id. What fails half way leaves nothing behind.
    pub async fn run(&self, request: cri::RunPodSandboxRequest, deadline: Instant) -> Result<String> {
        // 1. What is asked for, as a plan.
        let config = required(&request.config, "config")?;
        let plan = self.plan(config, &request.runtime_handler).await?;
        for caveat in &plan.caveats {
            warn!(sandbox = plan.name, "{caveat}");
        }
        // 2. Nobody else makes this very sandbox meanwhile: a caller that gave up may ask again.
        let _making = self.locks.exclusive(&plan.name).await;
        if !plan.log_directory.is_empty() {
            files::make_directory(&plan.log_directory).await?;
        }
        // 3. The pause container.
        let id = self.create_pause(&plan).await?;
        trace::about("pod_sandbox_id", &id);
        let _lock = self.locks.exclusive(&id).await;
        self.store
            .add_sandbox(&id, plan.record.clone(), plan.host_network);
        let changing = self.store.changing(&id);
        // 4. Its process, its resolv.conf, its network.
        if let Err(error) = self.bring_up(&id, &plan, deadline).await {
            self.undo(&id).await;
            return Err(error);
        }
        info!(id, name = plan.name, "sandbox runs");
        drop(changing);
        Ok(id)
    }

    async fn plan(&self, config: &cri::PodSandboxConfig, runtime_handler: &str) -> Result<SandboxPlan> {
        let context = config
            .linux
            .as_ref()
            .and_then(|linux| linux.security_context.as_ref());
        let mut host = self.node.view().await;
        if let Some(path) = security::sandbox_localhost_seccomp(context) {
            host.seccomp_profile = files::seccomp_profile(path).await?;
        }
        let request = SandboxRequest {
            config,
            runtime_handler,
            image: &self.images.pause(),
            network: self.network.plugin(),
            created_at: clock::now(),
        };
        let facts = self.engine.facts().await?;
        match sandbox::plan(request, &facts, &host) {
            // The Engine may have been given another runtime since it was asked.
            Err(Invalid { field, .. }) if field == "runtime_handler" => {
                self.engine.doubt_facts();
                Ok(sandbox::plan(request, &*self.engine.facts().await?, &host)?)
            }
            plan => Ok(plan?),
        }
    }

    async fn create_pause(&self, plan: &SandboxPlan) -> Result<String> {
        let mut pulled = false;
        let mut cleared = false;
        loop {
            match self.engine.create_container(&plan.name, plan.body.clone()).await {
                Ok(created) => {
                    for warning in created.warnings {
                        warn!(sandbox = plan.name, "the docker engine: {warning}");
                    }
                    return Ok(created.id);
                }
                Err(error) if error.is_not_found() && !pulled => {
                    // The image, or the Engine's own network.
                    self.network.ensure(&self.engine).await?;
                    self.images.ensure_pause().await?;
                    pulled = true;
                }
                Err(error) if error.is_conflict() && !cleared => {
                    self.clear_leftover(&plan.name).await?;
                    cleared = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes what a call that was cut short left under this name. One that runs is somebody's.
    async fn clear_leftover(&self, name: &str) -> Result<()> {
        let leftover = match self.engine.inspect_container(name).await {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        if leftover.state.running {
            return Err(Error::AlreadyExists(format!(
                "sandbox {name} runs already as {}",
                leftover.id
            )));
        }
        info!(
            id = leftover.id,
            name, "removing a sandbox that was left half made"
        );
        self.take_down(&leftover.id, Instant::now() + UNDO).await?;
        Ok(())
    }

    async fn bring_up(&self, id: &str, plan: &SandboxPlan, deadline: Instant) -> Result<()> {
        self.start_pause(id).await?;
        let inspect = self.engine.inspect_container(id).await?;
        if !inspect.resolv_conf_path.is_empty() {
            files::write_resolv_conf(&inspect.resolv_conf_path, plan.resolv_conf.as_deref()).await?;
        }
        if plan.host_network {
            return Ok(());
        }
        self.network.connect(id, &plan.record, &inspect, deadline).await
    }

    async fn start_pause(&self, id: &str) -> Result<()> {
        match self.engine.start_container(id).await {
            // The Engine says so of its own network, which may have been removed since.
            Err(error) if error.is_not_found() && self.network.ensure(&self.engine).await? => {
                Ok(self.engine.start_container(id).await?)
            }
            other => Ok(other?),
        }
    }

    async fn undo(&self, id: &str) {
        if let Err(error) = self.take_down(id, Instant::now() + UNDO).await {
            warn!(id, "cannot take back a sandbox that could not be made: {error}");
            // The kubelet finds what is left in its next list, and removes it. It must not look ready.
            if let Err(error) = self.kill(id).await {
                warn!(id, "cannot stop it either: {error}");
            }
        }
    }

    /// Removes a pause container and its network.
    pub(super) async fn take_down(&self, id: &str, deadline: Instant) -> Result<()> {
        let known = self.store.sandbox(id).await.ok();
        let record = known.as_ref().map(|sandbox| &sandbox.record);
        self.network.disconnect(id, record, deadline).await?;
        take_away(&self.engine, &self.store, &self.logs, id).await
    }
}
