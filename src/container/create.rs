use std::collections::BTreeMap;

use tracing::{info, warn};
use translate::{
    Invalid,
    container::{self, ContainerRequest},
    devices,
    facts::{EngineFacts, HostView},
    mounts, required, security,
};

use super::{Containers, remove::take_away};
use crate::{
    clock,
    engine::EngineError,
    error::{Error, Result},
    host::{files, selinux},
    trace,
};

impl Containers {
    /// Creates a container in a sandbox and returns its id.
    pub async fn create(&self, request: cri::CreateContainerRequest) -> Result<String> {
        // 1. The sandbox, which must not go away meanwhile.
        let config = required(&request.config, "config")?;
        let sandbox = self.store.sandbox(&request.pod_sandbox_id).await?;
        let _lock = self.locks.shared(&sandbox.id).await;
        // 2. What is asked for, as a plan.
        let context = config
            .linux
            .as_ref()
            .and_then(|linux| linux.security_context.as_ref());
        let mut host = self.node.view().await;
        if let Some(path) = security::localhost_seccomp(context) {
            host.seccomp_profile = files::seccomp_profile(path).await?;
        }
        files::look_at_devices(devices::sources(&config.devices), &mut host).await;
        let facts = self.engine.facts().await?;
        let image = config.image.as_ref().map_or("", |image| &image.image);
        // Without an image the Engine has the last word.
        let image = self.images.basis(image).await?.unwrap_or_default();
        host.image_user = image.user;
        host.accounts = image.accounts;
        host.volume_images = self.volume_images(&config.mounts, &facts).await?;
        let mut pod_files = String::new();
        if facts.selinux {
            let (_, inspect) = self.store.inspect_sandbox(&sandbox.id).await?;
            (host.sandbox_label, pod_files) = (inspect.process_label, inspect.mount_label);
        }
        let plan = container::plan(
            ContainerRequest {
                config,
                sandbox_config: request.sandbox_config.as_ref(),
                sandbox_id: &sandbox.id,
                sandbox: &sandbox.record,
                image_ref: &image.reference,
                created_at: clock::now(),
                log_size: &self.live.get().container_log_size,
            },
            &facts,
            &host,
        )?;
        self.check_sub_paths(&config.mounts, &host).await?;
        self.check_target(context, &sandbox.id).await?;
        for caveat in &plan.caveats {
            warn!(container = plan.name, "{caveat}");
        }
        // 3. What the container expects on the host.
        files::make_mount_sources(mounts::sources(&config.mounts)).await?;
        // 4. The container.
        let created = match self.engine.create_container(&plan.name, plan.body.clone()).await {
            Err(error) if error.is_conflict() => {
                self.clear_leftover(&plan.name, error).await?;
                self.engine.create_container(&plan.name, plan.body).await?
            }
            other => other?,
        };
        trace::about("container_id", &created.id);
        for warning in created.warnings {
            warn!(
                id = created.id,
                container = plan.name,
                "the docker engine: {warning}"
            );
        }
        // 5. Its SELinux label, also on what it has mounted.
        if facts.selinux
            && let Err(error) = self.label(&created.id, config, &pod_files).await
        {
            self.engine.remove_container(&created.id).await?;
            return Err(error);
        }
        self.store.add_container(&created.id, &sandbox.id, plan.record);
        info!(id = created.id, name = plan.name, "container created");
        Ok(created.id)
    }

    /// The ids of the images that are to be mounted, as far as they are there.
    async fn volume_images(
        &self,
        mounts: &[cri::Mount],
        facts: &EngineFacts,
    ) -> Result<BTreeMap<String, String>> {
        let mut ids = BTreeMap::new();
        for volume in mounts::images(mounts) {
            if !mounts::image_volumes(facts) {
                let why = "image volumes need Engine 28.0 or newer";
                return Err(Error::Unsupported(volume.refuse("image", why).why));
            }
            if let Some(id) = self.images.id_of(volume.image).await? {
                ids.insert(volume.image.to_owned(), id);
            }
        }
        Ok(ids)
    }

    /// The Engine would notice a path that is not in the image only when it starts the container.
    async fn check_sub_paths(&self, mounts: &[cri::Mount], host: &HostView) -> Result<()> {
        for volume in mounts::images(mounts).filter(|volume| !volume.sub_path.is_empty()) {
            let Some(id) = host.volume_images.get(volume.image) else {
                continue;
            };
            if !self.images.has_path(id, volume.sub_path).await? {
                let why = format!(
                    "there is no {:?} in the image {:?}",
                    volume.sub_path, volume.image
                );
                return Err(volume.refuse("image_sub_path", why).into());
            }
        }
        Ok(())
    }

    /// Refuses a label that the kernel does not know, as the Engine would notice it only at the start, and gives what is to
    /// be relabelled the label that the Engine has drawn for the container's files.
    async fn label(&self, id: &str, config: &cri::ContainerConfig, pod_files: &str) -> Result<()> {
        let context = config
            .linux
            .as_ref()
            .and_then(|linux| linux.security_context.as_ref());
        let asked = context.is_some_and(|context| context.selinux_options.is_some());
        let paths: Vec<_> = mounts::relabelled(&config.mounts).collect();
        if paths.is_empty() && !asked {
            return Ok(());
        }
        let inspect = self.engine.inspect_container(id).await?;
        selinux::check(&inspect.process_label).await?;
        // Labels do not hold a privileged container. What it has relabelled is for the others of its pod too, and the
        // kubelet asks for that with the first container that mounts a volume, whichever that is.
        let label = match inspect.process_label.as_str() {
            "" => pod_files,
            _ => &inspect.mount_label,
        };
        if label.is_empty() {
            return Ok(());
        }
        for path in paths {
            selinux::relabel(path, label).await?;
        }
        Ok(())
    }

    /// A container may look at the processes of another one in its own pod only.
    async fn check_target(
        &self,
        context: Option<&cri::LinuxContainerSecurityContext>,
        sandbox_id: &str,
    ) -> Result<()> {
        let Some(options) = context.and_then(|context| context.namespace_options.as_ref()) else {
            return Ok(());
        };
        if options.pid != i32::from(cri::NamespaceMode::Target) {
            return Ok(());
        }
        match self.store.container(&options.target_id).await {
            Ok(target) if target.sandbox_id == sandbox_id => Ok(()),
            Err(error) if !error.is_not_found() => Err(error),
            _ => {
                let field = "config.linux.security_context.namespace_options.target_id";
                let why = format!("{:?} is no container of this sandbox", options.target_id);
                Err(Invalid::new(field, why).into())
            }
        }
    }

    /// Removes what a call that was cut short left under this name. One that runs is somebody's.
    async fn clear_leftover(&self, name: &str, conflict: EngineError) -> Result<()> {
        let leftover = match self.engine.inspect_container(name).await {
            // The conflict was about something else, or has just ended.
            Err(error) if error.is_not_found() => return Err(conflict.into()),
            other => other?,
        };
        if leftover.state.running {
            return Err(Error::AlreadyExists(format!(
                "container {name} runs already as {}",
                leftover.id
            )));
        }
        info!(
            id = leftover.id,
            name, "removing a container of the same name that does not run"
        );
        take_away(&self.engine, &self.store, &self.logs, &leftover.id).await
    }
}
