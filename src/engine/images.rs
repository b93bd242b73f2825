//! Images.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Method,
    body::Incoming,
    header::{HeaderName, HeaderValue},
};
use serde::Deserialize;
use tokio::time::sleep;
use translate::answer::{HistoryEntry, ImageEntry, ImageInspect};

use super::{Engine, EngineError, raw, transport::Transport};

/// The pauses before a list of images is asked for again.
const LIST_AGAIN: [Duration; 5] = [Duration::from_millis(20); 5];

/// One thing that removing an image did; only that it can be read matters.
#[derive(Deserialize)]
struct Removed {}

/// The progress of a pull as the Engine sends it. Dropping it cancels the pull.
pub struct PullStream {
    transport: Arc<Transport>,
    body: Incoming,
    action: String,
}

impl PullStream {
    /// The next bytes, `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(self.transport.broken_off(&self.action, &error)),
            }
        }
    }
}

impl Engine {
    /// All images that have a name or are at the top of a chain.
    ///
    /// With containerd's store the Engine says that it does not find what is removed while it makes its list (28.5): then it
    /// is asked again.
    pub async fn list_images(&self) -> Result<Vec<ImageEntry>, EngineError> {
        let mut again = LIST_AGAIN.iter();
        loop {
            match (
                self.get("/images/json?digests=1", "list images").await,
                again.next(),
            ) {
                (Err(error), Some(pause)) if error.is_not_found() => sleep(*pause).await,
                (listed, _) => return listed,
            }
        }
    }

    /// One image by id or name; `None` if there is none.
    pub async fn inspect_image(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        let path = format!("/images/{}/json", encode_name(name));
        match self.get(&path, &format!("inspect image {name}")).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The steps that made an image, the last one first.
    pub async fn image_history(&self, name: &str) -> Result<Vec<HistoryEntry>, EngineError> {
        let path = format!("/images/{}/history", encode_name(name));
        self.get(&path, &format!("get the history of image {name}")).await
    }

    /// Starts to pull; `tag` may be a digest. The call has no time limit of its own.
    pub async fn pull_image(
        &self,
        from_image: &str,
        tag: &str,
        credentials: Option<HeaderValue>,
    ) -> Result<PullStream, EngineError> {
        let action = format!("pull image {from_image}");
        let path = format!(
            "/images/create?fromImage={}&tag={}",
            raw::encode(from_image),
            raw::encode(tag)
        );
        let header = credentials.map(|mut value| {
            value.set_sensitive(true);
            (HeaderName::from_static("x-registry-auth"), value)
        });
        let response = self.stream(Method::POST, &path, header, &action).await?;
        Ok(PullStream {
            transport: Arc::clone(&self.transport),
            body: response.into_body(),
            action,
        })
    }

    /// Removes one name of an image, or by its id the image; what does not exist is fine.
    pub async fn remove_image(&self, name: &str) -> Result<(), EngineError> {
        let path = format!("/images/{}", encode_name(name));
        match self
            .delete::<Vec<Removed>>(&path, &format!("remove image {name}"))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// An image name in a path: its slashes are the path's.
fn encode_name(name: &str) -> String {
    name.split('/').map(raw::encode).collect::<Vec<_>>().join("/")
}
