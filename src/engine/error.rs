use std::time::Duration;

/// A call to the Engine that did not succeed: what was tried, and what came of it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No connection.
    #[error("{action}: the docker engine at {socket} cannot be reached: {why}")]
    Unreachable {
        /// What was tried.
        action: String,
        /// The Engine's socket.
        socket: String,
        /// The system's words.
        why: String,
    },
    /// The connection was lost before the end of the answer.
    #[error("{action}: the connection to the docker engine at {socket} broke off: {why}")]
    BrokenOff {
        /// What was tried.
        action: String,
        /// The Engine's socket.
        socket: String,
        /// The system's words.
        why: String,
    },
    /// The Engine refused.
    #[error("{action}: {message}")]
    Refused {
        /// What was tried.
        action: String,
        /// The HTTP status.
        status: u16,
        /// The Engine's words.
        message: String,
    },
    /// No answer in time.
    #[error("{action}: no answer from the docker engine within {after:?}")]
    TimedOut {
        /// What was tried.
        action: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// An answer that cannot be read.
    #[error("{action}: cannot read the docker engine's answer: {why}")]
    Malformed {
        /// What was tried.
        action: String,
        /// What is wrong with it.
        why: String,
    },
    /// An Engine that is older than what is supported.
    #[error("the docker engine speaks API {found}, at least {needed} is needed (Engine 20.10)")]
    TooOld {
        /// The Engine's API version.
        found: String,
        /// The oldest one that serves.
        needed: String,
    },
}

impl EngineError {
    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the Engine says that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the object is in a state, or has a name, that forbids the call.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Whether there is no Engine, or none any more.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::BrokenOff { .. })
    }

    /// The Engine's own words, without what was tried.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// The same error with `action` as what was tried.
    pub(super) fn doing(self, action: String) -> Self {
        match self {
            Self::Unreachable { socket, why, .. } => Self::Unreachable { action, socket, why },
            Self::BrokenOff { socket, why, .. } => Self::BrokenOff { action, socket, why },
            Self::Refused { status, message, .. } => Self::Refused {
                action,
                status,
                message,
            },
            Self::TimedOut { after, .. } => Self::TimedOut { action, after },
            Self::Malformed { why, .. } => Self::Malformed { action, why },
            Self::TooOld { found, needed } => Self::TooOld { found, needed },
        }
    }
}
