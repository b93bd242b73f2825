//! Runs one plugin: its environment and document in, what it printed out.
//!
//! A plugin may hang, print without end, leave children behind or not be there. Each runs in a
//! process group of its own; whatever ends a call early kills the whole group, because plugins
//! wait for the IPAM plugins they run.

use std::{
    fs, future,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    time::{Instant, sleep, sleep_until, timeout},
};
use translate::cni::{
    plan::Invocation,
    result::{PluginError, ResultError},
};

use super::blocking;
use crate::{metrics, trace};

/// No result is near this size, in bytes.
const STDOUT_LIMIT: usize = 4 << 20;
/// What is kept of a plugin's diagnostics, in bytes.
const STDERR_LIMIT: usize = 64 << 10;
/// What is shown of a plugin's output in an error, in bytes.
const SHOWN: usize = 1 << 10;
/// How long output is awaited from children of a plugin that has ended.
const LINGER: Duration = Duration::from_secs(1);
/// How long a killed plugin is awaited: it may be stuck in the kernel.
const REAP: Duration = Duration::from_secs(5);
/// How long an executable that is being written is awaited, as libcni does.
const BUSY: Duration = Duration::from_secs(5);

/// Why a plugin could not be run, or how it failed.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// No directory has it.
    #[error("not found in {dirs}")]
    NotFound {
        /// The directories, with commas.
        dirs: String,
    },
    /// It is there, but it is no program.
    #[error("{} is not executable", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// It could not be started.
    #[error("cannot run {}: {cause}", path.display())]
    Spawn {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        cause: io::Error,
    },
    /// It was killed because it had not ended in time.
    #[error("did not end in time and was killed{}", said(.stderr))]
    TimedOut {
        /// What it had printed to its standard error by then.
        stderr: String,
    },
    /// It was killed because it printed too much.
    #[error("printed more than {STDOUT_LIMIT} bytes and was killed")]
    TooMuch,
    /// It failed and said why in CNI's form.
    #[error("{0}")]
    Reported(PluginError),
    /// It failed in another way.
    #[error("{how}{}", said(.output))]
    Failed {
        /// Its exit code or signal.
        how: String,
        /// What it printed.
        output: String,
    },
    /// It succeeded, with a result that is none.
    #[error("{cause}{}", said(.output))]
    Result {
        /// What is wrong with it.
        cause: ResultError,
        /// What it printed.
        output: String,
    },
    /// Its process could not be awaited.
    #[error("cannot wait for it: {0}")]
    Wait(io::Error),
}

fn said(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!("; it printed {output:?}")
    }
}

impl InvokeError {
    /// A result that makes no sense, with the output it was in.
    pub(super) fn result(cause: ResultError, output: &str) -> Self {
        Self::Result {
            cause,
            output: shown(output.as_bytes()),
        }
    }
}

/// The beginning of an output, for an error message.
fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    match text.char_indices().find(|(at, _)| *at >= SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// Where plugins are.
#[derive(Debug, Clone)]
pub(super) struct Plugins {
    dirs: Arc<[PathBuf]>,
}

impl Plugins {
    pub(super) fn new(dirs: Vec<PathBuf>) -> Self {
        Self { dirs: dirs.into() }
    }

    /// The executable of a plugin: the first directory that has it wins. Blocks.
    pub(super) fn find(&self, plugin: &str) -> Result<PathBuf, InvokeError> {
        let mut not_executable = None;
        for dir in &*self.dirs {
            let path = dir.join(plugin);
            match fs::metadata(&path) {
                Ok(found) if !found.is_file() => {}
                Ok(found) if found.permissions().mode() & 0o111 != 0 => return Ok(path),
                Ok(_) => {
                    not_executable.get_or_insert(path);
                }
                Err(_) => {}
            }
        }
        Err(not_executable.map_or_else(
            || InvokeError::NotFound {
                dirs: self.join(", "),
            },
            |path| InvokeError::NotExecutable { path },
        ))
    }

    fn join(&self, separator: &str) -> String {
        let dirs: Vec<_> = self.dirs.iter().map(|dir| dir.to_string_lossy()).collect();
        dirs.join(separator)
    }

    /// Runs a plugin and returns what it printed; `deadline` is when it is killed.
    pub(super) async fn run(
        &self,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<String, InvokeError> {
        let (began, span) = (Instant::now(), trace::cni(&invocation.plugin, &invocation.env));
        let ran = self.run_once(invocation, deadline).await;
        span.ran(&ran);
        metrics::cni(&invocation.command.to_string(), ran.is_err(), began.elapsed());
        ran
    }

    async fn run_once(&self, invocation: &Invocation, deadline: Instant) -> Result<String, InvokeError> {
        let mut running = self.spawn(invocation, deadline).await?;
        let ended = running.drive(invocation.stdin.clone(), deadline).await;
        let output = running.output(ended).await?;
        if !output.stderr.is_empty() {
            tracing::debug!(
                plugin = invocation.plugin,
                command = %invocation.command,
                stderr = shown(&output.stderr),
                "a CNI plugin printed diagnostics"
            );
        }
        String::from_utf8(output.stdout).map_err(|cause| InvokeError::Failed {
            how: "printed bytes that are not UTF-8".to_owned(),
            output: shown(cause.as_bytes()),
        })
    }

    async fn spawn(&self, invocation: &Invocation, deadline: Instant) -> Result<Running, InvokeError> {
        let give_up = deadline.min(Instant::now() + BUSY);
        loop {
            let (plugins, plugin) = (self.clone(), invocation.plugin.clone());
            let mut env = invocation.env.clone();
            env.push(("CNI_PATH", self.join(":")));
            // Looking up and executing a file reads the disk.
            let spawned = blocking(move || {
                let path = plugins.find(&plugin)?;
                Running::start(&path, env).map_err(|cause| InvokeError::Spawn { path, cause })
            });
            match spawned.await.map_err(InvokeError::Wait)? {
                // Being replaced at this moment, by an installer of plugins.
                Err(InvokeError::Spawn { cause, .. })
                    if cause.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < give_up =>
                {
                    sleep(Duration::from_millis(50)).await;
                }
                spawned => return spawned,
            }
        }
    }
}

/// A plugin's process. Dropped before its end, it takes its process group with it.
struct Running {
    child: Child,
    /// Its process group; `None` once it has been waited for: the number may be another's then.
    group: Option<Pid>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// How a process came to its end.
enum Ended {
    Exited(ExitStatus),
    Late,
    TooMuch,
    Unknown(io::Error),
}

struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Running {
    /// Starts `path`. Blocks; must be called inside a tokio runtime.
    fn start(path: &Path, env: Vec<(&'static str, String)>) -> io::Result<Self> {
        let mut command = Command::new(path);
        command.env_clear();
        // Plugins find iptables and the like by it.
        command.env(
            "PATH",
            std::env::var_os("PATH")
                .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        );
        command.envs(env);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self {
            child,
            group,
            stdout: Vec::new(),
            stderr: Vec::new(),
        })
    }

    /// Feeds it, collects what it prints, and waits for its end.
    async fn drive(&mut self, document: String, deadline: Instant) -> Ended {
        let feed = feed(self.child.stdin.take(), document);
        tokio::pin!(feed);
        let mut stdout = self.child.stdout.take();
        let mut stderr = self.child.stderr.take();
        let mut fed = false;
        let mut status = None;
        let mut until = deadline;
        let mut spill = Vec::new();
        loop {
            if let (Some(status), None, None) = (status, &stdout, &stderr) {
                return Ended::Exited(status);
            }
            tokio::select! {
                () = &mut feed, if !fed => fed = true,
                more = read(&mut stdout, &mut self.stdout) => {
                    if !more {
                        stdout = None;
                    } else if self.stdout.len() > STDOUT_LIMIT {
                        return Ended::TooMuch;
                    }
                }
                more = read(&mut stderr, if self.stderr.len() < STDERR_LIMIT { &mut self.stderr } else { &mut spill }) => {
                    spill.clear();
                    if !more {
                        stderr = None;
                    }
                }
                waited = self.child.wait(), if status.is_none() => match waited {
                    Ok(ended) => {
                        status = Some(ended);
                        // It may have left a child behind that holds its pipes open. What it had to
                        // say itself is in them already; a reader of a document would wait in vain.
                        fed = true;
                        until = deadline.min(Instant::now() + LINGER);
                    }
                    Err(cause) => return Ended::Unknown(cause),
                },
                () = sleep_until(until) => return status.map_or(Ended::Late, Ended::Exited),
            }
        }
    }

    /// What it printed, if it succeeded; otherwise nothing of it is left running.
    async fn output(&mut self, ended: Ended) -> Result<Output, InvokeError> {
        let output = Output {
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
        };
        if let Ended::Exited(status) = &ended
            && status.success()
        {
            self.group = None;
            return Ok(output);
        }
        // Of a process that has been waited for this kills the children only; for the group's
        // number to be another's by now, all numbers would have had to be used in a moment.
        self.kill();
        if !matches!(ended, Ended::Exited(_)) {
            // Not waiting longer is no leak: tokio reaps it once it ends.
            let _ = timeout(REAP, self.child.wait()).await;
        }
        Err(match ended {
            Ended::Late => InvokeError::TimedOut {
                stderr: shown(&output.stderr),
            },
            Ended::TooMuch => InvokeError::TooMuch,
            Ended::Unknown(cause) => InvokeError::Wait(cause),
            Ended::Exited(status) => failure(status, &output),
        })
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // It may have ended meanwhile.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn failure(status: ExitStatus, output: &Output) -> InvokeError {
    if let Ok(stdout) = std::str::from_utf8(&output.stdout)
        && let Some(reported) = PluginError::parse(stdout)
    {
        return InvokeError::Reported(reported);
    }
    let said: Vec<String> = [&output.stdout, &output.stderr]
        .into_iter()
        .map(|output| shown(output))
        .filter(|output| !output.is_empty())
        .collect();
    InvokeError::Failed {
        // Such as "exit status: 1".
        how: format!("failed with {status}"),
        output: said.join("\n"),
    }
}

/// Writes the document. A plugin need not read it, or not to its end.
async fn feed(stdin: Option<ChildStdin>, document: String) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(document.as_bytes()).await;
        let _ = stdin.shutdown().await;
    }
}

/// Reads a piece; false at the end. Pends for ever on a pipe that is closed.
async fn read(from: &mut Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> bool {
    match from {
        Some(from) => matches!(from.read_buf(into).await, Ok(1..)),
        None => future::pending().await,
    }
}
