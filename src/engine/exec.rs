//! Commands run in a container beside its own process.

use bollard::models::ExecConfig;
use serde_json::json;
use translate::answer::ExecInspect;

use super::{Engine, EngineError, Hijacked, raw};

/// What to run, and which of its streams are wanted.
#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether its stdin is connected.
    pub stdin: bool,
    /// Whether its stdout is connected.
    pub stdout: bool,
    /// Whether its stderr is connected.
    pub stderr: bool,
}

/// The terminal that a command is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// None.
    None,
    /// One, of this height and width in characters if they are known.
    Sized(Option<(u16, u16)>),
}

/// A key sequence that nobody types: the Engine's own default swallows ctrl-p.
pub(super) const NO_DETACH_KEYS: &str = "ctrl-_,ctrl-^,ctrl-],ctrl-_,ctrl-^,ctrl-]";

impl Engine {
    /// Prepares a command in `container`, which must run; the answer is the exec's id.
    pub async fn create_exec(&self, container: &str, spec: ExecSpec) -> Result<String, EngineError> {
        let config = ExecConfig {
            cmd: Some(spec.command),
            tty: Some(spec.tty),
            attach_stdin: Some(spec.stdin),
            attach_stdout: Some(spec.stdout),
            attach_stderr: Some(spec.stderr),
            detach_keys: Some(NO_DETACH_KEYS.into()),
            ..ExecConfig::default()
        };
        let action = format!("prepare a command in container {container}");
        let create = self.docker.create_exec(container, config);
        let created = self.ask(&action, self.timeout, create).await?;
        Ok(created.id)
    }

    /// Starts a prepared command and takes its streams.
    pub async fn start_exec(&self, exec: &str, terminal: Terminal) -> Result<Hijacked, EngineError> {
        let body = match terminal {
            Terminal::None => json!({ "Detach": false, "Tty": false }),
            Terminal::Sized(None) => json!({ "Detach": false, "Tty": true }),
            // An Engine before API 1.42 ignores the size; it can be set afterwards.
            Terminal::Sized(Some((height, width))) => {
                json!({ "Detach": false, "Tty": true, "ConsoleSize": [height, width] })
            }
        };
        self.hijack(
            &format!("/exec/{}/start", raw::encode(exec)),
            body.to_string().into_bytes(),
            &format!("start command {exec}"),
        )
        .await
    }

    /// Sets the size of a command's terminal, in characters. Fails as long as it is being started.
    pub async fn resize_exec(&self, exec: &str, height: u16, width: u16) -> Result<(), EngineError> {
        let path = format!("/exec/{}/resize?h={height}&w={width}", raw::encode(exec));
        self.post(&path, &format!("resize the terminal of command {exec}"))
            .await
    }

    /// A command's state.
    pub async fn inspect_exec(&self, exec: &str) -> Result<ExecInspect, EngineError> {
        self.get(
            &format!("/exec/{}/json", raw::encode(exec)),
            &format!("inspect command {exec}"),
        )
        .await
    }
}
