use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::time::{Instant, timeout};
use tracing::info;
use translate::{
    Invalid,
    image::{
        self, ImageReference, PullDecoder, PullFailure, PullProgress, RegistryAuth, WaitingFor, classify,
    },
    required,
};

use super::Images;
use crate::{
    engine::{EngineError, PullStream},
    error::{Error, Result},
};

/// How often a silent pull is looked at.
const LOOK: Duration = Duration::from_millis(500);

impl Images {
    /// Pulls an image and returns its id. A caller that goes away ends the pull.
    pub async fn pull(&self, request: &cri::PullImageRequest) -> Result<String> {
        let name = &required(&request.image, "image")?.image;
        if name.is_empty() {
            return Err(Invalid::new("image.image", "is missing").into());
        }
        let reference = ImageReference::parse(name)?;
        let auth = image::registry_auth(request.auth.as_ref(), &reference)?;
        self.fetch(name, &reference, auth.as_ref()).await
    }

    pub(super) async fn fetch(
        &self,
        name: &str,
        reference: &ImageReference,
        auth: Option<&RegistryAuth>,
    ) -> Result<String> {
        let began = Instant::now();
        let target = reference.pull_target();
        let credentials = auth
            .map(|auth| HeaderValue::from_str(&auth.header()))
            .transpose()
            .map_err(|_| Invalid::new("auth", "cannot be sent to the docker engine"))?;
        let pull = async {
            let asking = self
                .engine
                .pull_image(&target.from_image, &target.tag, credentials);
            self.follow(name, self.unless_stalled(name, asking).await?).await
        };
        let pulled = pull.await;
        self.store.images_changed();
        pulled.map_err(|error| explain(name, error))?;
        let found = self.engine.inspect_image(&reference.inspect_name()).await?;
        let image =
            found.ok_or_else(|| Error::Internal(format!("image {name} is not there after its pull")))?;
        self.learn(&image);
        self.usage.forget();
        info!(image = name, id = image.id, took = ?began.elapsed(), "image pulled");
        Ok(image.id)
    }

    /// Waits for a pull's first sign of life: the Engine begins its answer when it has the manifest.
    async fn unless_stalled<T>(
        &self,
        name: &str,
        asking: impl Future<Output = std::result::Result<T, EngineError>>,
    ) -> Result<T> {
        let stall = self.stall();
        if stall.is_zero() {
            return Ok(asking.await?);
        }
        match timeout(stall, asking).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(given_up(name, stall)),
        }
    }

    /// A pull without progress for this long is given up; zero waits for ever.
    fn stall(&self) -> Duration {
        self.live.get().image_pull_progress_deadline
    }

    /// Reads a pull's messages to their end.
    async fn follow(&self, name: &str, mut stream: PullStream) -> Result<()> {
        let (began, stall) = (Instant::now(), self.stall());
        let (mut decoder, mut progress, mut messages) = (PullDecoder::new(), PullProgress::new(), Vec::new());
        loop {
            match timeout(LOOK, stream.next()).await {
                Ok(Ok(Some(bytes))) => {
                    decoder
                        .push(&bytes, &mut messages)
                        .map_err(|error| garbled(name, &error.to_string()))?;
                    for message in messages.drain(..) {
                        progress.observe(&message, began.elapsed());
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {}
            }
            let idle = progress.idle(began.elapsed());
            // Other pulls and the disk take their time; only a registry is given up.
            if !stall.is_zero() && idle > stall && progress.waiting_for() == WaitingFor::Registry {
                return Err(given_up(name, idle));
            }
        }
        decoder
            .finish()
            .map_err(|error| garbled(name, &error.to_string()))?;
        progress
            .outcome()
            .map_err(|text| failed(name, classify(text), text))
    }
}

/// The Engine's refusal of a pull, in the words that the kubelet looks for.
fn explain(name: &str, error: Error) -> Error {
    match error {
        // A name that only the Engine's own rules forbid.
        Error::Engine(EngineError::Refused {
            status: 400, message, ..
        }) => Invalid::new("image.image", message).into(),
        Error::Engine(EngineError::Refused { message, .. }) => failed(name, classify(&message), &message),
        other => other,
    }
}

fn failed(name: &str, class: PullFailure, text: &str) -> Error {
    Error::Pull {
        class,
        message: class.message(name, text),
    }
}

fn given_up(name: &str, idle: Duration) -> Error {
    let text = format!("no progress for {} s, giving up", idle.as_secs());
    failed(name, PullFailure::RegistryUnavailable, &text)
}

fn garbled(name: &str, why: &str) -> Error {
    Error::Internal(format!(
        "pull image {name}: cannot read the docker engine's progress: {why}"
    ))
}
