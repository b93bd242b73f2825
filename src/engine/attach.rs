//! A container's own streams.

use super::{Engine, EngineError, Hijacked, exec::NO_DETACH_KEYS, raw};

/// Which of a container's streams are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttachSpec {
    /// What is written goes to its stdin.
    pub stdin: bool,
    /// Its stdout is read.
    pub stdout: bool,
    /// Its stderr is read.
    pub stderr: bool,
}

impl Engine {
    /// Takes the streams of a running container, from now on.
    pub async fn attach_container(&self, id: &str, spec: AttachSpec) -> Result<Hijacked, EngineError> {
        let flag = u8::from;
        let path = format!(
            "/containers/{}/attach?stream=1&stdin={}&stdout={}&stderr={}&detachKeys={}",
            raw::encode(id),
            flag(spec.stdin),
            flag(spec.stdout),
            flag(spec.stderr),
            raw::encode(NO_DETACH_KEYS),
        );
        self.hijack(&path, Vec::new(), &format!("attach to container {id}"))
            .await
    }

    /// Sets the size of a container's terminal, in characters.
    pub async fn resize_container(&self, id: &str, height: u16, width: u16) -> Result<(), EngineError> {
        let path = format!("/containers/{}/resize?h={height}&w={width}", raw::encode(id));
        self.post(&path, &format!("resize the terminal of container {id}"))
            .await
    }
}
