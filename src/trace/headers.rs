//! Headers of HTTP, as OpenTelemetry reads and writes them.

use hyper::{HeaderMap, header::HeaderName};
use opentelemetry::propagation::{Extractor, Injector};

/// The headers of a call.
pub(super) struct Read<'a>(pub(super) &'a HeaderMap);

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// The headers of a call of ours.
pub(super) struct Write<'a>(pub(super) &'a mut HeaderMap);

impl Injector for Write<'_> {
    fn set(&mut self, key: &str, value: String) {
        // A state that says nothing is not sent.
        if let (false, Ok(name), Ok(value)) = (value.is_empty(), key.parse::<HeaderName>(), value.parse()) {
            self.0.insert(name, value);
        }
    }
}
