use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};
use tracing::debug;
use translate::{Invalid, answer::ContainerInspect};

use super::{
    Containers,
    exec_sync::not_running,
    pump::{Output, pump, resizing},
    watched::Watched,
};
use crate::{
    engine::{ExecSpec, Terminal},
    error::{Error, Result},
    streaming::{
        Command, Session,
        session::{Outcome, Remote, Size, Streams},
    },
};

/// How long a terminal waits for its first size. Clients send it at once, and a program that starts
/// with the right size does not draw twice.
const FIRST_SIZE: Duration = Duration::from_millis(30);

impl Containers {
    /// A URL at which a command is run.
    pub async fn exec(self: Arc<Self>, request: cri::ExecRequest) -> Result<cri::ExecResponse> {
        let cri::ExecRequest {
            container_id,
            cmd,
            tty,
            stdin,
            stdout,
            stderr,
        } = request;
        if cmd.is_empty() {
            return Err(Invalid::new("cmd", "is missing").into());
        }
        let streams = wanted(Streams {
            stdin,
            stdout,
            stderr,
            tty,
        })?;
        let view = self.store.container_view(&container_id).await?;
        running(&view.inspect)?;
        let container = Arc::clone(&view.container);
        let containers = Arc::clone(&self);
        let command = Command::new(streams, move |remote| {
            containers.run_command(container.id.clone(), cmd, streams, remote)
        });
        let url = self.streaming.url(Session::Exec(command))?;
        Ok(cri::ExecResponse { url })
    }

    /// Runs a command with a client's streams. The client that goes away takes its input along; the
    /// command goes on or not as it likes.
    async fn run_command(self: Arc<Self>, id: String, cmd: Vec<String>, streams: Streams, remote: Remote) {
        let Remote {
            stdin,
            resize,
            stdout,
            stderr,
            mut outcome,
        } = remote;
        let output = Output::new(streams.tty, stdout, stderr).of_command();
        let ended = tokio::select! {
            ended = self.command(&id, cmd, streams, stdin, output, resize) => ended,
            () = outcome.closed() => {
                debug!(id, "the client of a command has gone");
                return;
            }
        };
        // A client that goes at this very moment need not be told.
        let _ = outcome.send(ended.unwrap_or_else(|error| Outcome::Failed(error.to_string())));
    }

    async fn command(
        &self,
        id: &str,
        cmd: Vec<String>,
        streams: Streams,
        stdin: Option<mpsc::Receiver<Bytes>>,
        mut output: Output,
        mut sizes: mpsc::Receiver<Size>,
    ) -> Result<Outcome> {
        let spec = ExecSpec {
            command: cmd,
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        let first = async {
            if streams.tty {
                timeout(FIRST_SIZE, sizes.recv()).await.ok().flatten()
            } else {
                None
            }
        };
        let (exec, first) = tokio::join!(self.engine.create_exec(id, spec), first);
        let exec = exec.map_err(|error| not_running(error, id))?;
        let terminal = if streams.tty {
            Terminal::Sized(first.map(|size| (size.height, size.width)))
        } else {
            Terminal::None
        };
        let connection = self.engine.start_exec(&exec, terminal).await?;
        let watched = Watched {
            engine: &self.engine,
            exec: &exec,
        };
        let (engine, exec_id) = (&self.engine, exec.as_str());
        // An Engine before API 1.42 has not taken the first size at the start.
        let resized = resizing(first, sizes, |size: Size| {
            engine.resize_exec(exec_id, size.height, size.width)
        });
        tokio::select! {
            pumped = pump(connection, stdin, &mut output, Some(watched)) => pumped?,
            () = resized => {}
        }
        let code = watched.exit_code().await?;
        if code != 0
            && let Some(reason) = output.reason()
        {
            return Ok(Outcome::Failed(reason));
        }
        output.release().await;
        Ok(match code {
            0 => Outcome::Success,
            code => Outcome::Exited(code),
        })
    }
}

/// The streams of a session, if they can be had together.
pub(super) fn wanted(streams: Streams) -> std::result::Result<Streams, Invalid> {
    if streams.tty && streams.stderr {
        return Err(Invalid::new("stderr", "cannot be told from stdout on a terminal"));
    }
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(Invalid::new(
            "stdout",
            "one of stdin, stdout and stderr must be wanted",
        ));
    }
    Ok(streams)
}

/// Fails where no process has streams.
pub(super) fn running(inspect: &ContainerInspect) -> Result<()> {
    if inspect.state.running {
        Ok(())
    } else {
        Err(Error::Precondition(format!(
            "container {} does not run: it is {}",
            inspect.id, inspect.state.status
        )))
    }
}
