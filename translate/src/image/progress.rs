//! The Engine's account of a pull: a stream of JSON objects inside a reply of status 200.
//!
//! The reply begins before the pull is decided, so a failure arrives as one of the objects, and only
//! whoever reads to the end knows how it went. What fails before the first object comes as a reply
//! with an error status instead; its text is for [`classify`] as well.

mod failure;
mod watch;

pub use failure::{PullFailure, classify};
use serde::Deserialize;
pub use watch::{PullProgress, WaitingFor};

/// Bytes of one object. The Engine's own are below a kilobyte.
const MAX_OBJECT: usize = 1 << 20;
/// Bytes of unusable output that an error shows.
const SHOWN: usize = 200;

/// One object of the stream.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PullMessage {
    /// The layer it is about (12 hexadecimal digits), or the tag, or nothing.
    pub id: Option<String>,
    /// What happens, in words.
    pub status: Option<String>,
    /// How far that is.
    pub progress_detail: Option<ProgressDetail>,
    /// Why the pull failed.
    pub error: Option<String>,
    /// Why the pull failed; the same text with a code.
    pub error_detail: Option<ErrorDetail>,
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// Bytes so far; seconds while containerd unpacks.
    pub current: Option<i64>,
    /// Bytes altogether, where known.
    pub total: Option<i64>,
}

/// The error that ended a pull.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// An HTTP status, mostly absent.
    pub code: Option<i64>,
    /// The text.
    pub message: Option<String>,
}

impl PullMessage {
    /// The text of the failure, if this object reports one.
    pub fn failure(&self) -> Option<&str> {
        let detail = self
            .error_detail
            .as_ref()
            .and_then(|detail| detail.message.as_deref());
        let text = [detail, self.error.as_deref()]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty());
        // An error without a text is an error.
        let untold = self.error.is_some() || self.error_detail.is_some();
        text.or_else(|| untold.then_some("the Engine gave no reason"))
    }
}

/// The stream is not what the Engine sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Something else than a JSON object.
    #[error("the Engine's pull stream holds {0:?} where a progress message was expected")]
    NotAMessage(String),
    /// An object that does not end.
    #[error("a message of the Engine's pull stream is longer than {MAX_OBJECT} bytes")]
    TooLong,
    /// The stream ended inside an object.
    #[error("the Engine's pull stream ended inside the message {0:?}")]
    CutOff(String),
}

/// Separates the stream into messages, however it was split on its way.
///
/// Objects are told apart by their braces: the Engine puts CRLF between them, which nothing promises.
#[derive(Debug, Default)]
pub struct PullDecoder {
    /// The object begun, from its opening brace on.
    object: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl PullDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and appends the messages they complete to `messages`.
    ///
    /// # Errors
    ///
    /// On anything but JSON objects and white space; messages before it are delivered. The decoder is of
    /// no further use then.
    pub fn push(&mut self, bytes: &[u8], messages: &mut Vec<PullMessage>) -> Result<(), Garbled> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.depth == 0 {
                match byte {
                    b'{' => {}
                    _ if byte.is_ascii_whitespace() => continue,
                    _ => return Err(Garbled::NotAMessage(shown(&bytes[at..]))),
                }
            }
            if self.object.len() == MAX_OBJECT {
                return Err(Garbled::TooLong);
            }
            self.object.push(byte);
            self.step(byte);
            if self.depth == 0 {
                let message = serde_json::from_slice(&self.object);
                messages.push(message.map_err(|_| Garbled::NotAMessage(shown(&self.object)))?);
                self.object.clear();
            }
        }
        Ok(())
    }

    /// States that the stream has ended.
    ///
    /// # Errors
    ///
    /// If it ended inside an object.
    pub fn finish(&self) -> Result<(), Garbled> {
        if self.object.is_empty() {
            Ok(())
        } else {
            Err(Garbled::CutOff(shown(&self.object)))
        }
    }

    fn step(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else if self.in_string {
            match byte {
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                // Never below zero: a first byte that opens nothing was refused.
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
}

#[cfg(test)]
mod tests;
