//! What is in an image, before a container is made from it.
//!
//! The Engine shows files of containers only, so a container is made that never runs and is removed at
//! once. Users and groups are looked up once for each image; a dockside that is killed in between leaves
//! such a container, which the next one removes at its start.

use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig};
use tracing::{debug, warn};
use translate::accounts::Accounts;

use super::Images;
use crate::{clock, error::Result};

/// Marks the containers that are made here; the value is the root directory of the dockside that made it.
const LABEL: &str = "io.dockside.look";

/// A file of accounts is larger than this by mistake only, in bytes.
const MOST: usize = 4 << 20;

/// Who looks into images, so that its leftovers are known from those of others.
pub(super) struct Looker {
    root: String,
    /// Seconds since the epoch.
    since: i64,
}

impl Looker {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.display().to_string(),
            since: clock::now() / 1_000_000_000,
        }
    }
}

impl Images {
    /// The users and groups of the image `id`. Callers that ask at once wait for one look.
    pub(super) async fn look_for_accounts(&self, id: &str) -> Result<Accounts> {
        // Nor is the image removed meanwhile.
        let _looking = self.locks.exclusive(id).await;
        if let Some(accounts) = self.learnt().get(id).and_then(|learnt| learnt.accounts.clone()) {
            return Ok(accounts);
        }
        let look = Look::new(self, id).await?;
        let file = |path| self.engine.read_file(&look.id, path, MOST);
        let read = tokio::try_join!(file("/etc/passwd"), file("/etc/group"));
        look.end(self).await;
        let (passwd, group) = read?;
        let accounts = Accounts::read(&passwd.unwrap_or_default(), &group.unwrap_or_default());
        debug!(image = id, "looked for the users of an image");
        if let Some(learnt) = self.learnt().get_mut(id) {
            learnt.accounts = Some(accounts.clone());
        }
        Ok(accounts)
    }

    /// Whether `path`, relative to the root of the image `id`, leads to anything.
    pub async fn has_path(&self, id: &str, path: &str) -> Result<bool> {
        let _looking = self.locks.exclusive(id).await;
        let look = Look::new(self, id).await?;
        let found = self.engine.resolve_path(&look.id, &format!("/{path}")).await;
        look.end(self).await;
        Ok(found?.is_some())
    }

    /// Removes what an earlier dockside with this one's root directory left behind when it was killed.
    pub async fn sweep(&self) -> Result<()> {
        let mine = format!("{LABEL}={}", self.looker.root);
        for left in self.engine.list_containers(&[mine], None).await? {
            if left.created < self.looker.since {
                self.engine.remove_container(&left.id).await?;
            }
        }
        Ok(())
    }
}

/// A container to look into.
struct Look {
    id: String,
}

impl Look {
    async fn new(images: &Images, image: &str) -> Result<Self> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // Never run; but the Engine wants a command, which the image may not have.
            entrypoint: Some(vec!["-".to_owned()]),
            labels: Some([(LABEL.to_owned(), images.looker.root.clone())].into()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let id = images.engine.create_unnamed(body).await?;
        Ok(Self { id })
    }

    async fn end(self, images: &Images) {
        if let Err(error) = images.engine.remove_container(&self.id).await {
            warn!(
                id = self.id,
                "a container made to look into an image stays: {error}"
            );
        }
    }
}
