//! Errors as gRPC statuses. The one place that chooses codes.

use std::time::Duration;

use tonic::{Code, Status, metadata::MetadataMap};
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
        Self::new(code(&error), message)
    }
}

fn code(error: &Error) -> Code {
    match error {
        Error::Invalid(_) => Code::InvalidArgument,
        Error::NotFound { .. } => Code::NotFound,
        Error::Precondition(_) => Code::FailedPrecondition,
        Error::AlreadyExists(_) => Code::AlreadyExists,
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
        EngineError::Unreachable { .. } | EngineError::TimedOut { .. } => Code::Unavailable,
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

/// How long the caller waits, by its `grpc-timeout` header: up to eight digits and a unit.
pub(super) fn caller_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u32 = digits.parse().ok()?;
    let one = match unit {
        "H" => Duration::from_secs(3600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    one.checked_mul(amount)
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
    fn the_callers_patience_is_read() {
        let cases = [
            ("2M", Some(120_000)),
            ("500m", Some(500)),
            ("1S", Some(1000)),
            ("S", None),
            ("1x", None),
            ("", None),
        ];
        for (text, milliseconds) in cases {
            let mut metadata = MetadataMap::new();
            if let Ok(value) = text.parse() {
                metadata.insert("grpc-timeout", value);
            }
            assert_eq!(
                caller_timeout(&metadata),
                milliseconds.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }
}
