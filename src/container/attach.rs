use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::debug;

use super::{
    Containers,
    exec::{running, wanted},
    pump::{Output, pump, resizing},
};
use crate::{
    engine::AttachSpec,
    error::Result,
    streaming::{
        Command, Session,
        session::{Outcome, Remote, Size, Streams},
    },
};

impl Containers {
    /// A URL at which a container's own streams can be had.
    pub async fn attach(self: Arc<Self>, request: cri::AttachRequest) -> Result<cri::AttachResponse> {
        let streams = wanted(Streams {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            tty: request.tty,
        })?;
        let view = self.store.container_view(&request.container_id).await?;
        running(&view.inspect)?;
        let container = Arc::clone(&view.container);
        let containers = Arc::clone(&self);
        let attachment = Command::new(streams, move |remote| {
            containers.run_attachment(container.id.clone(), streams, remote)
        });
        let url = self.streaming.url(Session::Attach(attachment))?;
        Ok(cri::AttachResponse { url })
    }

    /// Connects a client with a container until one of them ends. The container does not notice, unless
    /// its stdin ends with its first client.
    async fn run_attachment(self: Arc<Self>, id: String, streams: Streams, remote: Remote) {
        let Remote {
            stdin,
            resize,
            stdout,
            stderr,
            mut outcome,
        } = remote;
        let ended = tokio::select! {
            ended = self.attachment(&id, streams, stdin, stdout, stderr, resize) => ended,
            () = outcome.closed() => {
                debug!(id, "the client of an attachment has gone");
                return;
            }
        };
        // A client that goes at this very moment need not be told.
        let _ = outcome.send(match ended {
            Ok(()) => Outcome::Success,
            Err(error) => Outcome::Failed(error.to_string()),
        });
    }

    async fn attachment(
        &self,
        id: &str,
        streams: Streams,
        stdin: Option<mpsc::Receiver<Bytes>>,
        stdout: Option<mpsc::Sender<Bytes>>,
        stderr: Option<mpsc::Sender<Bytes>>,
        sizes: mpsc::Receiver<Size>,
    ) -> Result<()> {
        // It may have ended since the URL was given out; and only it knows how its output is framed.
        let (_, inspect) = self.store.inspect_container(id).await?;
        running(&inspect)?;
        let spec = AttachSpec {
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        let connection = self.engine.attach_container(id, spec).await?;
        let mut output = Output::new(inspect.config.tty, stdout, stderr);
        let resized = resizing(None, sizes, |size| {
            self.engine.resize_container(id, size.height, size.width)
        });
        tokio::select! {
            pumped = pump(connection, stdin, &mut output, None) => pumped,
            () = resized => Ok(()),
        }
    }
}
