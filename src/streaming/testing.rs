//! What the tests of both protocols start from.

use std::time::Duration;

use super::{protocol::Limits, session::Streams};

/// As a kubelet has them.
pub(super) const LIMITS: Limits = Limits {
    creation: Duration::from_secs(30),
    idle: Duration::from_secs(4 * 60 * 60),
};

/// A command without a terminal.
pub(super) const ALL: Streams = Streams {
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
};

/// A command with one.
pub(super) const TTY: Streams = Streams {
    stdin: true,
    stdout: true,
    stderr: false,
    tty: true,
};
