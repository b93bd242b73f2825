//! Images.

mod credentials;
mod fs;
mod inside;
mod list;
mod pause;
mod pull;
mod remove;
mod status;
mod unpacked;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use translate::{
    accounts::Accounts,
    answer::ImageInspect,
    image::{self, ImageQuery},
};

use crate::{config::live::Current, engine::Engine, locks::Locks, store::Store};

pub use fs::FsUsage;

/// What the calls about images share.
pub struct Images {
    engine: Engine,
    store: Arc<Store>,
    /// The pause image's name, and how long a pull may be without progress.
    live: Current,
    /// What was learnt of images by their id: an inspection tells it, a list or a container does not.
    learnt: Mutex<HashMap<String, Learnt>>,
    /// Removals of one image wait for each other, and so do pulls of the pause image.
    locks: Locks,
    usage: fs::Usage,
    looker: inside::Looker,
}

#[derive(Clone, Default)]
struct Learnt {
    /// `USER`: never changes for an id.
    user: String,
    /// A digest reference the image was known by.
    digest_reference: String,
    /// Its users and groups, once somebody has looked.
    accounts: Option<Accounts>,
}

/// What a container needs to know of the image it is made from.
#[derive(Debug, Clone, Default)]
pub struct Basis {
    /// A digest reference, or the image's id.
    pub reference: String,
    /// `USER`.
    pub user: String,
    /// Its users and groups.
    pub accounts: Accounts,
}

impl Images {
    /// Images of `engine`, as `store` knows them; `root` is dockside's own directory.
    pub fn new(engine: Engine, store: Arc<Store>, live: Current, root: &Path) -> Self {
        Self {
            engine,
            store,
            live,
            learnt: Mutex::default(),
            locks: Locks::default(),
            usage: fs::Usage::default(),
            looker: inside::Looker::new(root),
        }
    }

    /// What a container made from the image that `name` means depends on; `None` if there is no such
    /// image.
    ///
    /// Asks the Engine only about an image that it was not asked about before: the kubelet names images
    /// by id, and asks for each one's status before it creates a container of it.
    pub async fn basis(&self, name: &str) -> Result<Option<Basis>, crate::error::Error> {
        let Some((id, learnt)) = self.known(name).await? else {
            return Ok(None);
        };
        let accounts = match learnt.accounts {
            Some(accounts) => accounts,
            None => self.look_for_accounts(&id).await?,
        };
        Ok(Some(Basis {
            reference: learnt.digest_reference,
            user: learnt.user,
            accounts,
        }))
    }

    /// The id of the image that `name` means.
    pub async fn id_of(&self, name: &str) -> Result<Option<String>, crate::error::Error> {
        Ok(self.known(name).await?.map(|(id, _)| id))
    }

    async fn known(&self, name: &str) -> Result<Option<(String, Learnt)>, crate::error::Error> {
        if let Some(learnt) = self.learnt().get(name) {
            return Ok(Some((name.to_owned(), learnt.clone())));
        }
        let Ok(query) = ImageQuery::parse(name) else {
            return Ok(None);
        };
        if let Some((_, images)) = self.store.images().await
            && let Some(found) = image::find(images.iter(), &query)
            && let Some(user) = self.store.image_user(&found.id)
        {
            return Ok(Some((
                found.id.clone(),
                self.note(&found.id, user, &found.repo_digests),
            )));
        }
        let found = self.engine.inspect_image(&query.engine_name()).await?;
        Ok(found.map(|image| (image.id.clone(), self.learn(&image))))
    }

    fn learn(&self, image: &ImageInspect) -> Learnt {
        self.note(&image.id, image.config.user.clone(), &image.repo_digests)
    }

    fn note(&self, id: &str, user: String, digests: &[String]) -> Learnt {
        let mut all = self.learnt();
        let learnt = all.entry(id.to_owned()).or_default();
        learnt.user = user;
        learnt.digest_reference = digests.iter().min().map_or(id, String::as_str).to_owned();
        learnt.clone()
    }

    fn learnt(&self) -> MutexGuard<'_, HashMap<String, Learnt>> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
