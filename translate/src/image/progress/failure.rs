//! Why a pull failed, read from the Engine's text.
//!
//! The Engine says it in prose: 20.10 answers status 500 for nearly everything, and an error inside the
//! stream has no status at all. The kubelet wants to know one class, whether the registry could not be
//! reached, and looks for it at the beginning of a message of gRPC code `Unknown`.

/// How the kubelet recognises a registry that cannot be reached.
const REGISTRY_UNAVAILABLE: &str = "RegistryUnavailable";

/// The class of a failed pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullFailure {
    /// The registry is not reached, is broken or wants fewer requests: later it may work.
    RegistryUnavailable,
    /// The registry has no such image.
    NotFound,
    /// The registry does not give it to these credentials.
    Denied,
    /// Anything else: a damaged layer, a full disk, a certificate.
    Other,
}

/// What a broken connection and an overloaded registry sound like, in lower case.
const UNAVAILABLE: [&str; 29] = [
    "no such host",
    "server misbehaving",
    "temporary failure in name resolution",
    "connection refused",
    "connection reset",
    "connection timed out",
    "no route to host",
    "network is unreachable",
    "host is unreachable",
    "host is down",
    "broken pipe",
    "i/o timeout",
    "tls handshake timeout",
    "client.timeout exceeded",
    "context deadline exceeded",
    "operation timed out",
    "timeout awaiting response headers",
    "request canceled while waiting for connection",
    "server closed idle connection",
    "server sent goaway",
    "client connection lost",
    "unexpected eof",
    "too many requests",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "gateway time-out",
    "proxyconnect tcp",
];

/// What a missing image sounds like. Older Engines call a missing one with no credentials denied.
const NOT_FOUND: [&str; 5] = [
    "manifest unknown",
    "name unknown",
    "repository name not known",
    "no matching manifest",
    "no match for platform",
];

const DENIED: [&str; 5] = [
    "access denied",
    "access to the resource is denied",
    "authentication required",
    "authorization failed",
    "no basic auth credentials",
];

/// Registries' error codes, which the Engine puts between colons: `denied: you are not welcome`.
const CODES: [(&str, PullFailure); 8] = [
    ("toomanyrequests", PullFailure::RegistryUnavailable),
    ("unavailable", PullFailure::RegistryUnavailable),
    ("eof", PullFailure::RegistryUnavailable),
    ("unauthorized", PullFailure::Denied),
    ("denied", PullFailure::Denied),
    ("incorrect username or password", PullFailure::Denied),
    ("not found", PullFailure::NotFound),
    ("404 not found", PullFailure::NotFound),
];

/// Reads the class from an Engine's text, be it of the stream or of a reply with an error status.
///
/// Phrases are matched only where an image's name cannot put them: with spaces in them, or as a whole
/// part between colons.
pub fn classify(text: &str) -> PullFailure {
    let text = text.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if says(&UNAVAILABLE) {
        return PullFailure::RegistryUnavailable;
    }
    if let Some(class) = http_status(&text).and_then(of_status) {
        return class;
    }
    if says(&DENIED) {
        return PullFailure::Denied;
    }
    if says(&NOT_FOUND) {
        return PullFailure::NotFound;
    }
    let mut parts = text.split(": ").map(str::trim);
    parts
        .find_map(|part| CODES.iter().find(|(code, _)| *code == part))
        .map_or_else(
            // "manifest for x.io/a:b not found", where no colon separates.
            || {
                if text.ends_with(" not found") {
                    PullFailure::NotFound
                } else {
                    PullFailure::Other
                }
            },
            |(_, class)| *class,
        )
}

impl PullFailure {
    /// The gRPC message for this failure of pulling `image`: `text` is what the Engine said.
    pub fn message(self, image: &str, text: &str) -> String {
        let told = format!("pull of {image:?} failed: {text}");
        match self {
            Self::RegistryUnavailable => format!("{REGISTRY_UNAVAILABLE}: {told}"),
            Self::NotFound | Self::Denied | Self::Other => told,
        }
    }
}

/// The registry's HTTP status, where the Engine quotes it.
fn http_status(text: &str) -> Option<u16> {
    const BEFORE: [&str; 3] = ["http status: ", "error parsing http ", "status code "];
    let quoted = BEFORE.iter().find_map(|before| text.split_once(before));
    // containerd: "unexpected status from HEAD request to https://...: 503 Service Unavailable".
    let containerd = || {
        let (_, rest) = text.split_once("unexpected status from ")?;
        rest.split_once(": ")
    };
    let (_, rest) = quoted.or_else(containerd)?;
    rest.get(..3)?.parse().ok()
}

fn of_status(status: u16) -> Option<PullFailure> {
    match status {
        401 | 403 => Some(PullFailure::Denied),
        404 => Some(PullFailure::NotFound),
        408 | 429 | 500..=599 => Some(PullFailure::RegistryUnavailable),
        _ => None,
    }
}
