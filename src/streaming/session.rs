//! What a client's connection is, whatever protocol it speaks.

use bytes::Bytes;
use tokio::sync::mpsc;

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Which streams a command or an attachment has. `stderr` is never there with `tty`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Streams {
    /// From the client.
    pub stdin: bool,
    /// To the client.
    pub stdout: bool,
    /// To the client.
    pub stderr: bool,
    /// Whether there is a terminal, which can be resized.
    pub tty: bool,
}

/// How a session ended, for the client's error stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0, or the end of an attachment.
    Success,
    /// Another exit code.
    Exited(i32),
    /// It could not be started or went wrong: what the client is told.
    Failed(String),
}

/// The client's side of an exec or attach session.
///
/// Every queue is bounded: who writes faster than the other side reads, waits. When the client has gone,
/// sends fail and receives end.
#[derive(Debug)]
pub struct Remote {
    /// What the client types, until its end of input. `None` where no stdin was asked for.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    /// The terminal's sizes, the first one usually at once.
    pub resize: mpsc::Receiver<Size>,
    /// Where output goes: dropping a sender closes that stream.
    pub stdout: Option<mpsc::Sender<Bytes>>,
    /// As `stdout`.
    pub stderr: Option<mpsc::Sender<Bytes>>,
    /// Takes the outcome once, after all output was sent; the session then ends.
    pub outcome: tokio::sync::oneshot::Sender<Outcome>,
}

/// One forwarded connection.
#[derive(Debug)]
pub struct Forward {
    /// The port in the pod.
    pub port: u16,
    /// From the client, until it half-closes.
    pub input: mpsc::Receiver<Bytes>,
    /// To the client; dropping it half-closes.
    pub output: mpsc::Sender<Bytes>,
    /// Takes the text of an error, if there is one; dropping it means success.
    pub error: tokio::sync::oneshot::Sender<String>,
}
