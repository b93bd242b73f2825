//! Image names: Docker's grammar and Docker's short forms.
//!
//! The kubelet passes on what a user wrote into a pod, so `nginx`, `docker.io/library/nginx:latest`
//! and `index.docker.io/library/nginx` must all come out as one image. The grammar is the one the
//! Engine itself applies, so a name accepted here is not refused there for its form.

use std::fmt;

use crate::Invalid;

/// Where CRI carries an image's name, in every message that has one.
const FIELD: &str = "image.image";
/// The registry of names that name none.
const DEFAULT_DOMAIN: &str = "docker.io";
/// An old name of the default registry that the Engine treats as the same.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// Where the default registry keeps the images of names without a namespace.
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Bytes of the path. Engine 20.10 counts the domain too and refuses a few more names by itself.
const MAX_PATH: usize = 255;
/// Bytes of a tag.
const MAX_TAG: usize = 128;
/// Hexadecimal digits of a SHA-256, the hash of every image id.
const ID_DIGITS: usize = 64;

/// A full image name: registry, path, and a tag or a digest or both or neither.
///
/// Displays in canonical form, with the registry and nothing added: `docker.io/library/nginx`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// The query of the Engine's `POST /images/create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullTarget {
    /// `fromImage`: the name without tag and digest.
    pub from_image: String,
    /// `tag`: a tag or a digest, never empty, because the Engine takes an empty one for all tags.
    pub tag: String,
}

impl ImageReference {
    /// Reads a name as the Engine would.
    ///
    /// # Errors
    ///
    /// Names `image.image` when the text is no image name, with the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: String| Invalid::new(FIELD, format!("{} is no image name: {why}", quoted(text)));
        if text.is_empty() {
            return Err(Invalid::new(FIELD, "is empty"));
        }
        if is_hex(text) && text.len() == ID_DIGITS {
            return Err(wrong("64 hexadecimal digits are an image id".to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (domain, rest) = split_domain(rest);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };

        check_domain(domain).map_err(&wrong)?;
        check_path(path).map_err(&wrong)?;
        tag.map_or(Ok(()), check_tag).map_err(&wrong)?;
        digest.map_or(Ok(()), check_digest).map_err(&wrong)?;

        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
            format!("{OFFICIAL}{path}")
        } else {
            path.to_owned()
        };
        if path.len() > MAX_PATH {
            return Err(wrong(format!(
                "its path has {} characters, at most {MAX_PATH} are allowed",
                path.len()
            )));
        }
        Ok(Self {
            domain: domain.to_owned(),
            path,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The registry's host and port, `docker.io` where none was given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest with its algorithm, if one was given.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Registry and path, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// What to ask the Engine to pull: the digest before the tag, the tag before `latest`.
    pub fn pull_target(&self) -> PullTarget {
        let tag = self.digest().or_else(|| self.tag()).unwrap_or(DEFAULT_TAG);
        PullTarget {
            from_image: self.name(),
            tag: tag.to_owned(),
        }
    }

    /// The name by which the Engine knows the image once it is pulled.
    ///
    /// One name and one suffix: of a tag with a digest the Engine keeps the digest alone.
    pub fn inspect_name(&self) -> String {
        match (self.digest(), self.tag()) {
            (Some(digest), _) => format!("{}@{digest}", self.name()),
            (None, tag) => format!("{}:{}", self.name(), tag.unwrap_or(DEFAULT_TAG)),
        }
    }

    /// The form people write: without `docker.io/` and `library/` where that loses nothing.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(path) = full
            .strip_prefix(DEFAULT_DOMAIN)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return full;
        };
        // `docker.io/foo.bar/x` shortened would name a registry `foo.bar`: keep what does not read back.
        let reads_back = |short: &str| Self::parse(short).is_ok_and(|parsed| parsed == *self);
        [path.strip_prefix(OFFICIAL), Some(path)]
            .into_iter()
            .flatten()
            .find(|short| reads_back(short))
            .map_or_else(|| full.clone(), str::to_owned)
    }

    /// Whether both name the same image of the same registry, an absent tag being `latest`.
    pub fn same_image(&self, other: &Self) -> bool {
        self.inspect_name() == other.inspect_name()
    }

    /// Whether both are in one repository of one registry.
    pub fn same_repository(&self, other: &Self) -> bool {
        self.domain == other.domain && self.path == other.path
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// What a caller of ImageStatus or RemoveImage may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageQuery {
    /// An image id in full, with its algorithm.
    Id(String),
    /// Text that reads both as a name and as the first digits of an id.
    ///
    /// The Engine tries the name first, so `cafe` is the image `cafe:latest` where there is one.
    NameOrId {
        /// It as a name.
        name: ImageReference,
        /// It as the beginning of an id, with the algorithm.
        prefix: String,
    },
    /// A name.
    Name(ImageReference),
}

impl ImageQuery {
    /// Tells ids from names.
    ///
    /// # Errors
    ///
    /// Names `image.image` when the text is neither.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if !is_hex(digits) || digits.is_empty() || digits.len() > ID_DIGITS {
            return ImageReference::parse(text).map(Self::Name);
        }
        let id = format!("sha256:{digits}");
        if digits.len() == ID_DIGITS {
            return Ok(Self::Id(id));
        }
        // Short digits are always a name too: an official image, or a tag of one called `sha256`.
        ImageReference::parse(text).map(|name| Self::NameOrId { name, prefix: id })
    }

    /// What to put into `GET /images/{name}/json`.
    pub fn engine_name(&self) -> String {
        match self {
            Self::Id(id) => id.clone(),
            // The digits as they were given: the Engine looks for both meanings only then.
            Self::NameOrId { name, .. } => name.familiar(),
            Self::Name(name) => name.inspect_name(),
        }
    }
}

/// Separates the registry. The first part of a name is one only if it cannot be a user's name.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn check_domain(domain: &str) -> Result<(), String> {
    let bracketed = domain
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(address, port)| (Host::Address(address), port));
    let (host, port) = bracketed.unwrap_or_else(|| {
        let at = domain.find(':').unwrap_or(domain.len());
        let (name, port) = domain.split_at(at);
        (Host::Name(name), port)
    });
    let host_valid = match host {
        Host::Address(text) => !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        Host::Name(text) => text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    if !host_valid {
        return Err(format!("{} is no registry host", quoted(domain)));
    }
    let port_valid = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if port_valid {
        Ok(())
    } else {
        Err(format!("the registry {} has no valid port", quoted(domain)))
    }
}

enum Host<'a> {
    Address(&'a str),
    Name(&'a str),
}

fn check_path(path: &str) -> Result<(), String> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!("the path {} must be lower-case", quoted(path)));
    }
    path.split('/').all(is_component).then_some(()).ok_or_else(|| {
        format!(
            "in the path {} every part must be lower-case letters and digits, \
             joined by '.', '_', '__' or any number of '-'",
            quoted(path)
        )
    })
}

/// Letters and digits at both ends, and between them separators that never touch each other.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.split(alphanumeric).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
        && tag.len() <= MAX_TAG;
    valid.then_some(()).ok_or_else(|| {
        format!(
            "the tag {} must be 1 to {MAX_TAG} letters, digits, '_', '.' or '-' and not begin with the last two",
            quoted(tag)
        )
    })
}

fn check_digest(digest: &str) -> Result<(), String> {
    let digits = match digest.split_once(':') {
        Some(("sha256", hex)) => Some((hex, 64)),
        Some(("sha384", hex)) => Some((hex, 96)),
        Some(("sha512", hex)) => Some((hex, 128)),
        _ => None,
    };
    let Some((hex, length)) = digits else {
        return Err(format!(
            "the digest {} must begin with sha256:, sha384: or sha512:",
            quoted(digest)
        ));
    };
    if is_hex(hex) && hex.len() == length {
        Ok(())
    } else {
        Err(format!(
            "the digest {} must have {length} lower-case hexadecimal digits",
            quoted(digest)
        ))
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The text quoted for a message, cut so that a request cannot make an error of any length.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 300;
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{:?}...", &text[..at]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;
