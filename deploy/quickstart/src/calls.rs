//! Calls to a CRI server, each told as it is made.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use cri::{
    ImageSpec, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
};
use tokio::time::{sleep, timeout};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

/// No call but a pull takes longer, unless the server hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// For a pull over a slow line. The server itself gives up a pull without progress.
const PULL_LIMIT: Duration = Duration::from_secs(900);

/// From the server's start until it is ready for pods: it meets the Engine, and sets up its network.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A registry that could not be reached.
#[derive(Debug)]
pub(crate) struct NoRegistry(String);

impl fmt::Display for NoRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRegistry {}

/// A connection to a CRI server.
pub(crate) struct Calls {
    pub(crate) runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

/// Prints one line of the report.
pub(crate) fn say(line: impl fmt::Display) {
    // The reader may have gone (`| head`), which is no reason to leave a pod behind.
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
}

/// Awaits one call: says what is asked of the server, and with which command `crictl` asks the same.
pub(crate) async fn call<T>(
    what: &str,
    crictl: &str,
    future: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T> {
    limited(what, crictl, LIMIT, future)
        .await?
        .map_err(|status| failed(what, &status))
}

/// As `call`, with the server's own words left to the caller.
async fn limited<T>(
    what: &str,
    crictl: &str,
    limit: Duration,
    future: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Result<T, Status>> {
    let began = Instant::now();
    let answer = timeout(limit, future)
        .await
        .map_err(|_| anyhow!("{what}: no answer within {} s", limit.as_secs()))?;
    if answer.is_ok() {
        say(format_args!(
            "  {what}, {} ms  ($ crictl {crictl})",
            began.elapsed().as_millis()
        ));
    }
    Ok(answer.map(Response::into_inner))
}

fn failed(what: &str, status: &Status) -> anyhow::Error {
    anyhow!("{what}: {:?}: {}", status.code(), status.message())
}

impl Calls {
    pub(crate) async fn connect(endpoint: &str) -> Result<Self> {
        if !endpoint.starts_with("unix:///") {
            bail!("expected unix:///path");
        }
        let channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect_timeout(Duration::from_secs(10))
            .connect()
            .await?;
        Ok(Self {
            runtime: RuntimeServiceClient::new(channel.clone()),
            images: ImageServiceClient::new(channel),
        })
    }

    /// Waits for the conditions that the kubelet waits for.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let version = cri::VersionRequest { version: "v1".into() };
        let answer = call("Version", "version", self.runtime.version(version)).await?;
        say(format_args!(
            "      {} {}, API {}",
            answer.runtime_name, answer.runtime_version, answer.runtime_api_version
        ));
        let began = Instant::now();
        loop {
            let answer = timeout(LIMIT, self.runtime.status(cri::StatusRequest::default()))
                .await
                .context("Status: no answer within 60 s")?
                .map_err(|status| failed("Status", &status))?;
            let conditions = answer.into_inner().status.unwrap_or_default().conditions;
            let told: Vec<_> = conditions
                .iter()
                .map(|c| format!("{}={} {}", c.r#type, c.status, c.message))
                .map(|text| text.trim_end().to_owned())
                .collect();
            if !conditions.is_empty() && conditions.iter().all(|c| c.status) {
                say("  Status  ($ crictl info)");
                say(format_args!("      {}", told.join(", ")));
                return Ok(());
            }
            if began.elapsed() > READY_LIMIT {
                bail!(
                    "dockside is not ready for pods after {} s: {}",
                    READY_LIMIT.as_secs(),
                    told.join(", ")
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Pulls an image that is not here.
    pub(crate) async fn pull(&mut self, image: &str) -> Result<()> {
        let spec = || {
            Some(ImageSpec {
                image: image.to_owned(),
                ..ImageSpec::default()
            })
        };
        let request = cri::PullImageRequest {
            image: spec(),
            ..cri::PullImageRequest::default()
        };
        let what = format!("PullImage {image}");
        let pulled = limited(
            &what,
            &format!("pull {image}"),
            PULL_LIMIT,
            self.images.pull_image(request),
        )
        .await?;
        let answer = match pulled {
            // The words that the kubelet looks for too.
            Err(status) if status.message().starts_with("RegistryUnavailable") => {
                return Err(NoRegistry(format!("{what}: {}", status.message())).into());
            }
            other => other.map_err(|status| failed(&what, &status))?,
        };
        let request = cri::ImageStatusRequest {
            image: spec(),
            ..cri::ImageStatusRequest::default()
        };
        let what = format!("ImageStatus {image}");
        let status = call(
            &what,
            &format!("inspecti {image}"),
            self.images.image_status(request),
        )
        .await?;
        let found = status
            .image
            .with_context(|| format!("{what}: not here after its pull as {}", answer.image_ref))?;
        say(format_args!("      {}, {} bytes", found.id, found.size));
        Ok(())
    }

    /// Removes an image.
    pub(crate) async fn remove_image(&mut self, image: &str) -> Result<()> {
        let request = cri::RemoveImageRequest {
            image: Some(ImageSpec {
                image: image.to_owned(),
                ..ImageSpec::default()
            }),
        };
        let what = format!("RemoveImage {image}");
        call(&what, &format!("rmi {image}"), self.images.remove_image(request)).await?;
        Ok(())
    }
}
