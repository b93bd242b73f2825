//! SELinux as security options.

use cri::SeLinuxOption;

use crate::{Invalid, facts::EngineFacts};

/// The Engine's `label=` options.
///
/// All containers of a pod need one level, but the Engine draws a fresh one for each container whose
/// options name none; so the level of the sandbox's label fills the gap. A container that asks for nothing gets the
/// whole label of the sandbox: the Engine would copy it with the IPC namespace, but fails where the PID namespace is one of
/// a container with another label. A privileged container gets no options, whatever it asks for, so that the Engine
/// switches labels off for it: what is asked for may be the pod's, as for the others in it, and to be privileged is not to
/// be held by that.
pub(super) fn options(
    asked: Option<&SeLinuxOption>,
    privileged: bool,
    sandbox_label: &str,
    facts: &EngineFacts,
) -> Result<Vec<String>, Invalid> {
    let nothing = SeLinuxOption::default();
    let asked = asked.unwrap_or(&nothing);
    let [user, role, kind, level] = parts_of(sandbox_label);
    let parts = if *asked == nothing {
        [user, role, kind, level]
    } else {
        let level = match asked.level.as_str() {
            "" => level,
            level => level,
        };
        [&asked.user, &asked.role, &asked.r#type, level]
    };
    let parts = ["user", "role", "type", "level"].into_iter().zip(parts);
    let given = parts.filter(|(_, value)| !value.is_empty());
    for (name, value) in given.clone() {
        let fits = if name == "level" {
            is_level(value)
        } else {
            is_name(value)
        };
        if !fits {
            let why = format!("{value:?} is not an SELinux {name}");
            return Err(Invalid::new(format!("selinux_options.{name}"), why));
        }
    }
    if privileged || !facts.selinux {
        return Ok(Vec::new());
    }
    Ok(given
        .map(|(name, value)| format!("label={name}:{value}"))
        .collect())
}

/// The parts of `user:role:type:level`, of which the last may itself contain colons; empty ones where it is no label.
fn parts_of(label: &str) -> [&str; 4] {
    let parts: Vec<_> = label.splitn(4, ':').collect();
    parts.try_into().unwrap_or_default()
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Whether `text` is a level or a range of two: `s0`, `s0:c1,c2.c5`, `s0-s0:c0.c1023`.
///
/// The kernel would refuse anything else, but only at start.
fn is_level(text: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let categories = |list: &str| {
        list.split(',').all(|item| match item.split_once('.') {
            Some((first, last)) => word(first) && word(last),
            None => word(item),
        })
    };
    let single = |level: &str| match level.split_once(':') {
        Some((sensitivity, list)) => word(sensitivity) && categories(list),
        None => word(level),
    };
    match text.split_once('-') {
        Some((low, high)) => single(low) && single(high),
        None => single(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn levels() {
        for good in [
            "s0",
            "s0:c1,c2",
            "s0:c0.c1023",
            "s0-s0:c0.c1023",
            "s0:c1-s1:c1,c2.c5",
        ] {
            assert!(is_level(good), "{good}");
        }
        for bad in [
            "",
            "s0,c0,c5",
            "s0:",
            "s0:c1,",
            "s0:c1..c2",
            "s0-",
            "-",
            ":",
            "s0:c 1",
            "s0=c1",
        ] {
            assert!(!is_level(bad), "{bad}");
        }
    }

    #[test]
    fn the_label_yields_its_parts() {
        for (label, parts) in [
            (
                "system_u:system_r:container_t:s0:c1,c2",
                ["system_u", "system_r", "container_t", "s0:c1,c2"],
            ),
            ("a:b:c:s0", ["a", "b", "c", "s0"]),
            ("unconfined", [""; 4]),
            ("", [""; 4]),
        ] {
            assert_eq!(parts_of(label), parts);
        }
    }
}
