//! Seccomp as a security option.

use serde_json::{Map, Value};

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
            check(text).map_err(|why| Invalid::new(FILE, format!("the profile {path:?} {why}")))?;
            Ok(Some(format!("seccomp={text}")))
        }
    }
}

/// What a system call may lead to.
const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Looks for what the Engine and the OCI runtime would notice only at start, and for the one thing that they would not
/// notice at all: without a default action and rules a profile confines nothing.
fn check(text: &str) -> Result<(), String> {
    let profile: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("is not a JSON object: {error}"))?;
    action(&profile, "defaultAction")?;
    let rules = match value(&profile, "syscalls") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(rules)) => rules,
        Some(other) => return Err(format!("has no list of syscalls, but {other}")),
    };
    for (index, rule) in rules.iter().enumerate() {
        let rule = rule.as_object().ok_or("is no object");
        let checked = rule.map_err(str::to_owned).and_then(|rule| {
            action(rule, "action")?;
            names(rule)
        });
        checked.map_err(|why| format!("is broken: syscalls[{index}] {why}"))?;
    }
    Ok(())
}

fn action(of: &Map<String, Value>, key: &str) -> Result<(), String> {
    match value(of, key) {
        Some(Value::String(action)) if ACTIONS.contains(&action.as_str()) => Ok(()),
        Some(other) => Err(format!("has no {key} that is known: {other}")),
        None => Err(format!("has no {key}")),
    }
}

fn names(rule: &Map<String, Value>) -> Result<(), String> {
    let given = ["name", "names"].iter().filter_map(|key| value(rule, key));
    for value in given {
        let fits = match value {
            Value::Array(names) => names.iter().all(Value::is_string),
            other => other.is_string() || other.is_null(),
        };
        if !fits {
            return Err(format!("has no names, but {value}"));
        }
    }
    Ok(())
}

/// The Engine's reader of JSON does not tell case apart.
fn value<'a>(of: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let found = of.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    found.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_would_fail_at_start_or_confine_nothing_is_found() {
        for good in [
            r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#,
            r#"{"DefaultAction": "SCMP_ACT_ERRNO", "syscalls": null, "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}"#,
            r#"{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": []}]}"#,
            r#"{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"name": "read", "action": "SCMP_ACT_KILL"}]}"#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "no JSON"),
            ("[]", "no JSON"),
            ("{}", "has no defaultAction"),
            (r#"{"defaultAction": ""}"#, "defaultAction"),
            (r#"{"defaultAction": 7}"#, "defaultAction"),
            (r#"{"defaultAction": "SCMP_ACT_PERHAPS"}"#, "PERHAPS"),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}"#,
                "no list",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [7]}"#,
                "syscalls[0] is no object",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]}"#,
                "syscalls[0] has no action",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [7], "action": "SCMP_ACT_ERRNO"}]}"#,
                "syscalls[0] has no names",
            ),
        ] {
            let found = check(bad).unwrap_err().replace("not a JSON", "no JSON");
            assert!(found.contains(why), "{bad}: {found}");
        }
    }
}
