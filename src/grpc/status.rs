//! Errors as gRPC statuses. The one place that chooses codes.

use tonic::{Code, Status};
use translate::{
    Invalid,
    image::PullFailure,
    mounts::{IMAGE_VOLUME_MOUNT_FAILED, RRO_UNSUPPORTED},
};

use crate::{engine::EngineError, error::Error};

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = match &error {
            // The kubelet looks for these words at the beginning, and shows them as the reason.
            Error::Invalid(Invalid { field, why })
                if [RRO_UNSUPPORTED, IMAGE_VOLUME_MOUNT_FAILED]
                    .iter()
                    .any(|word| why.starts_with(word)) =>
            {
                format!("{why} ({field})")
            }
            other => other.to_string(),
        };
        Self::new(code(&error), shortened(message))
    }
}

/// A status travels in a header, where every odd byte takes three, and clients (Python's: 8 KiB) drop the whole
/// connection if that is too long.
fn shortened(mut message: String) -> String {
    const MOST: usize = 2048;
    if message.len() > MOST {
        let whole = (0..=MOST).rev().find(|&end| message.is_char_boundary(end));
        message.truncate(whole.unwrap_or_default());
        message.push_str("...");
    }
    message
}

fn code(error: &Error) -> Code {
    match error {
        Error::Invalid(_) => Code::InvalidArgument,
        Error::NotFound { .. } => Code::NotFound,
        Error::Precondition(_) => Code::FailedPrecondition,
        Error::AlreadyExists(_) => Code::AlreadyExists,
        Error::Unsupported(_) => Code::Unimplemented,
        Error::Exhausted(_) => Code::ResourceExhausted,
        Error::TimedOut(_) => Code::DeadlineExceeded,
        Error::Engine(error) => engine(error),
        // The kubelet looks into the message of this code only.
        Error::Cni(_)
        | Error::Pull {
            class: PullFailure::RegistryUnavailable | PullFailure::Other,
            ..
        } => Code::Unknown,
        Error::Pull {
            class: PullFailure::NotFound,
            ..
        } => Code::NotFound,
        Error::Pull {
            class: PullFailure::Denied,
            ..
        } => Code::PermissionDenied,
        Error::Host { .. } | Error::Internal(_) => Code::Internal,
    }
}

fn engine(error: &EngineError) -> Code {
    match error {
        // The kubelet waits and asks again; it must not take this for a missing object.
        EngineError::Unreachable { .. } | EngineError::BrokenOff { .. } | EngineError::TimedOut { .. } => {
            Code::Unavailable
        }
        EngineError::TooOld { .. } => Code::FailedPrecondition,
        EngineError::Malformed { .. } => Code::Internal,
        EngineError::Refused { status, .. } => match status {
            400 => Code::InvalidArgument,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::NotFound,
            409 => Code::FailedPrecondition,
            501 => Code::Unimplemented,
            503 => Code::Unavailable,
            _ => Code::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_callers_branch_on() {
        let refused = |status| {
            Error::Engine(EngineError::Refused {
                action: "do it".into(),
                status,
                message: "no".into(),
            })
        };
        let unreachable = EngineError::Unreachable {
            action: "ask".into(),
            socket: "/s".into(),
            why: "gone".into(),
        };
        let pull = |class| Error::Pull {
            class,
            message: "RegistryUnavailable: x".into(),
        };
        let cases = [
            (
                Error::Invalid(Invalid::new("config", "is missing")),
                Code::InvalidArgument,
            ),
            (Error::no_sandbox("x"), Code::NotFound),
            (Error::TimedOut("late".into()), Code::DeadlineExceeded),
            (Error::Exhausted("full".into()), Code::ResourceExhausted),
            (Error::Engine(unreachable), Code::Unavailable),
            (refused(400), Code::InvalidArgument),
            (refused(404), Code::NotFound),
            (refused(409), Code::FailedPrecondition),
            (refused(500), Code::Unknown),
            (pull(PullFailure::RegistryUnavailable), Code::Unknown),
            (pull(PullFailure::Denied), Code::PermissionDenied),
        ];
        for (error, expected) in cases {
            assert_eq!(code(&error), expected, "{error}");
        }
    }

    #[test]
    fn messages_fit_into_a_header() {
        let status = Status::from(Error::no_sandbox("é".repeat(100_000)));
        assert!(status.message().len() < 2100 && status.message().ends_with("é..."));
        let status = Status::from(Error::no_sandbox("short"));
        assert_eq!(status.message(), "sandbox \"short\" is not known");
    }
}
