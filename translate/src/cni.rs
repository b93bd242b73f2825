//! The Container Network Interface, version 1.1 and down to 0.1.0: documents in, documents out.
//!
//! What libcni does between reading a configuration and running a plugin, as functions on text:
//! [`conf`] reads configurations, [`plan`] says which plugin is run with which environment and
//! which document, [`result`] reads what plugins print, [`cache`] is libcni's record of an
//! attachment. Documents of others are kept as the text they came as
//! ([`RawValue`](serde_json::value::RawValue)), so that fields unknown here reach the plugins
//! unchanged.

pub mod bandwidth;
pub mod cache;
pub mod capabilities;
pub mod conf;
pub mod plan;
pub mod result;
mod version;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

pub use version::Version;

/// A JSON object of which only the keys are looked at.
///
/// Ordered by key, as libcni writes its documents.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// Writes a value that cannot fail to be written: strings, numbers, lists and [`Fields`].
fn raw<T: serde::Serialize>(value: &T) -> Box<RawValue> {
    // Only maps with keys that are not strings and failing writers make serde_json fail here, and
    // there are none; `null` is what a reader treats as absent.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Whether `name` may be part of a file's name as CNI demands of network names and container ids:
/// it starts with a letter or digit and goes on with letters, digits, `_`, `.` and `-`.
pub fn is_valid_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}
