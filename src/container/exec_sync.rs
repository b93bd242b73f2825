use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::warn;
use translate::Invalid;

use super::{
    Containers,
    watched::{Questions, Watched},
};
use crate::{
    engine::{EngineError, ExecSpec, Hijacked, StdStream, Stdcopy, Terminal},
    error::{Error, Result},
    host::{cgroup, process},
    trace,
};

/// What the reply's two streams may hold together. CRI's limit for a message is 16 MiB, and its other
/// fields need a little.
const MAX_OUTPUT: usize = (16 << 20) - 1024;

/// How long after the command's end output is still taken.
const DRAIN: Duration = Duration::from_millis(500);

/// Everything that has to be done after a timeout is done within this.
const CLEAN_UP: Duration = Duration::from_secs(20);

impl Containers {
    /// Runs a command to its end. After `timeout` seconds (0: never) everything it started is killed.
    /// So it is when the caller goes away, that is when this future is dropped.
    pub async fn exec_sync(self: Arc<Self>, request: cri::ExecSyncRequest) -> Result<cri::ExecSyncResponse> {
        if request.cmd.is_empty() {
            return Err(Invalid::new("cmd", "is missing").into());
        }
        let seconds = u64::try_from(request.timeout)
            .map_err(|_| Invalid::new("timeout", format!("{} is negative", request.timeout)))?;
        let container = self.store.container(&request.container_id).await?;
        let spec = ExecSpec {
            command: request.cmd,
            stdout: true,
            stderr: true,
            ..ExecSpec::default()
        };
        let exec = self
            .engine
            .create_exec(&container.id, spec)
            .await
            .map_err(|error| not_running(error, &container.id))?;
        let deadline = (seconds > 0)
            .then(|| Instant::now().checked_add(Duration::from_secs(seconds)))
            // More than the clock can hold is as good as never.
            .flatten();

        let mut guard = KillOnDrop {
            containers: Arc::clone(&self),
            command: Some((container.id.clone(), exec.clone())),
        };
        let run = self.run(&exec);
        let ended = match deadline {
            Some(deadline) => timeout_at(deadline, run).await.ok(),
            None => Some(run.await),
        };
        guard.command = None;
        match ended {
            Some(result) => result,
            None => {
                self.kill(&container.id, &exec).await;
                Err(Error::TimedOut(format!(
                    "the command did not end within {seconds} s and was killed"
                )))
            }
        }
    }

    /// The command's output, and its exit code once it has ended.
    async fn run(&self, exec: &str) -> Result<cri::ExecSyncResponse> {
        let mut connection = self.engine.start_exec(exec, Terminal::None).await?;
        let watched = Watched {
            engine: &self.engine,
            exec,
        };
        let mut output = Collected::default();
        output.take(&std::mem::take(&mut connection.read))?;
        let mut questions = Questions::default();
        loop {
            let reading = output.read_for(&mut connection, questions.pause()).await?;
            if matches!(reading, Reading::End) {
                break;
            }
            if watched.has_ended().await? {
                // What is left in the pipes, but not what others go on to write.
                output.read_for(&mut connection, DRAIN).await?;
                break;
            }
            questions.asked();
        }
        let exit_code = watched.exit_code().await?;
        Ok(cri::ExecSyncResponse {
            stdout: output.stdout,
            stderr: output.stderr,
            exit_code,
        })
    }

    /// Kills a command of the container `id` with everything it started. The Engine has no call for that.
    async fn kill(&self, id: &str, exec: &str) {
        let failed = || Error::host("kill a command that timed out");
        let kill = async {
            loop {
                let state = self.engine.inspect_exec(exec).await?;
                if !state.running && state.exit_code.is_some() {
                    // By itself; the number that the Engine still tells may be another process's.
                    return Ok(());
                }
                if state.pid != 0 {
                    // So it may be if the Engine has not noticed the end yet.
                    if cgroup::is_of_container(state.pid, id).map_err(failed())? == Some(false) {
                        return Ok(());
                    }
                    return process::kill_tree(state.pid).await.map_err(failed());
                }
                // It is being started.
                sleep(Duration::from_millis(50)).await;
            }
        };
        match timeout(CLEAN_UP, kill).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(exec, "cannot kill a command that timed out: {error}"),
            Err(_) => warn!(exec, "cannot kill a command that timed out: it does not end"),
        }
    }
}

/// Kills the command of a call that nobody waits for any more.
struct KillOnDrop {
    containers: Arc<Containers>,
    /// The container and the command.
    command: Option<(String, String)>,
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some((id, exec)) = self.command.take() {
            let containers = Arc::clone(&self.containers);
            tokio::spawn(trace::carried(async move { containers.kill(&id, &exec).await }));
        }
    }
}

/// What the Engine means when a command cannot be prepared.
pub(super) fn not_running(error: EngineError, id: &str) -> Error {
    match error.status() {
        Some(404) => Error::no_container(id),
        Some(409) => Error::Precondition(format!("container {id} does not run: {}", error.message())),
        _ => error.into(),
    }
}

enum Reading {
    End,
    Open,
}

/// Both streams, up to a limit.
#[derive(Default)]
struct Collected {
    decoder: Stdcopy,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Collected {
    /// Reads until the end, but no longer than `span`.
    async fn read_for(&mut self, connection: &mut Hijacked, span: Duration) -> Result<Reading> {
        let until = Instant::now() + span;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match timeout_at(until, connection.stream.read(&mut buffer)).await {
                Err(_) => return Ok(Reading::Open),
                Ok(Ok(0)) => return Ok(Reading::End),
                Ok(Ok(length)) => self.take(&buffer[..length])?,
                Ok(Err(error)) => return Err(Error::host("read the command's output")(error)),
            }
        }
    }

    /// Takes what was read; beyond the limit it is dropped.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.decoder.push(bytes);
        while let Some((stream, piece)) = self.decoder.piece().map_err(Error::Internal)? {
            let room = MAX_OUTPUT - self.stdout.len() - self.stderr.len();
            let kept = &piece[..piece.len().min(room)];
            match stream {
                StdStream::Stdout => self.stdout.extend_from_slice(kept),
                StdStream::Stderr | StdStream::System => self.stderr.extend_from_slice(kept),
            }
        }
        Ok(())
    }
}
