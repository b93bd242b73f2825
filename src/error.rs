//! The one error of everything that an RPC does. `grpc::status` turns it into a gRPC status.

use std::io;

use translate::{Invalid, image::PullFailure};

use crate::{cni::CniError, engine::EngineError, streaming::TokenError};

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be honoured.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such sandbox, container or image.
    #[error("{kind} {id:?} is not known")]
    NotFound {
        /// `sandbox`, `container` or `image`.
        kind: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// The object's state forbids the call.
    #[error("{0}")]
    Precondition(String),
    /// An object of that name exists and is in use.
    #[error("{0}")]
    AlreadyExists(String),
    /// This Engine cannot do it at all.
    #[error("{0}")]
    Unsupported(String),
    /// There is no room for more of this now.
    #[error("{0}")]
    Exhausted(String),
    /// The call's own time limit passed.
    #[error("{0}")]
    TimedOut(String),
    /// The Engine could not do it, or could not be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The pod's network could not be set up or taken down.
    #[error(transparent)]
    Cni(#[from] CniError),
    /// A pull failed.
    #[error("{message}")]
    Pull {
        /// Whose fault it was.
        class: PullFailure,
        /// The kubelet reads the beginning of this text.
        message: String,
    },
    /// Something on this host could not be read or written.
    #[error("{action}: {source}")]
    Host {
        /// What was tried, on which file.
        action: String,
        /// The system's answer.
        source: io::Error,
    },
    /// An error of dockside's own.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// No such sandbox.
    pub fn no_sandbox(id: impl Into<String>) -> Self {
        Self::NotFound {
            kind: "sandbox",
            id: id.into(),
        }
    }

    /// No such container.
    pub fn no_container(id: impl Into<String>) -> Self {
        Self::NotFound {
            kind: "container",
            id: id.into(),
        }
    }

    /// A failed action on this host.
    pub fn host(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Host { action, source }
    }

    /// Whether the object of the call does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::TooMany => Self::Exhausted(error.to_string()),
            TokenError::Random(_) => Self::Internal(error.to_string()),
        }
    }
}

/// What everything that an RPC does returns.
pub type Result<T> = std::result::Result<T, Error>;
