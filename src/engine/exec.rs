//! Commands run in a container beside its own process.

use bollard::models::ExecConfig;
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

/// A key sequence that nobody types: the Engine's own default swallows ctrl-p.
const NO_DETACH_KEYS: &str = "ctrl-_,ctrl-^,ctrl-],ctrl-_,ctrl-^,ctrl-]";

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
        self.docker
            .create_exec(container, config)
            .await
            .map(|created| created.id)
            .map_err(|error| {
                EngineError::from_bollard(&format!("prepare a command in container {container}"), error)
            })
    }

    /// Starts a prepared command and takes its streams.
    pub async fn start_exec(&self, exec: &str, tty: bool) -> Result<Hijacked, EngineError> {
        let body = format!(r#"{{"Detach":false,"Tty":{tty}}}"#);
        self.hijack(
            &format!("/exec/{exec}/start"),
            body.into_bytes(),
            &format!("start command {exec}"),
        )
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
