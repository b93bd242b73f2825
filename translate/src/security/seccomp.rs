//! Seccomp as a security option.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::profile::Profile;
use crate::{
    Invalid,
    facts::{ApiVersion, EngineFacts, HostView},
};

const FILE: &str = "seccomp.localhost_ref";

/// The file to read for a request, where it names an acceptable one.
pub(super) fn path(asked: Result<Option<Profile<'_>>, Invalid>) -> Option<&str> {
    match asked {
        Ok(Some(Profile::Localhost(path))) if path.starts_with('/') => Some(path),
        _ => None,
    }
}

/// The Engine's option for a profile.
///
/// A profile travels as the text of its file, byte for byte: the Engine reads a dialect of its own
/// (`archMap`, `includes`), which a rewriting would lose.
pub(super) fn option(
    asked: Profile<'_>,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<Option<String>, Invalid> {
    if !facts.seccomp && asked != Profile::Unconfined {
        let why = "the engine's host has no seccomp, so no profile can be applied";
        return Err(Invalid::new("seccomp", why));
    }
    match asked {
        Profile::Unconfined => Ok(Some("seccomp=unconfined".to_owned())),
        // The word shields from a profile configured for the whole daemon; older Engines would
        // take it for a profile's text.
        Profile::RuntimeDefault => Ok((facts.api >= ApiVersion::V1_42).then(|| "seccomp=builtin".to_owned())),
        Profile::Localhost(path) if !path.starts_with('/') => {
            Err(Invalid::new(FILE, format!("{path:?} is not an absolute path")))
        }
        Profile::Localhost(path) => {
            let text = host
                .seccomp_profile
                .as_deref()
                .ok_or_else(|| Invalid::new(FILE, format!("the profile {path:?} cannot be read")))?;
            serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text).map_err(|error| {
                Invalid::new(
                    FILE,
                    format!("the profile {path:?} is not a JSON object: {error}"),
                )
            })?;
            Ok(Some(format!("seccomp={text}")))
        }
    }
}
