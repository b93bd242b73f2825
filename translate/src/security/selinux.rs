//! SELinux as security options.

use cri::SeLinuxOption;

use crate::{Invalid, facts::EngineFacts};

/// The Engine's `label=` options.
///
/// All containers of a pod need one level, but the Engine draws a fresh one for each container whose
/// options name none; so the level of the sandbox's label fills the gap. With no options at all it is
/// better to send none: the Engine then copies the label of the container whose IPC is joined. A privileged
/// container gets none either, whatever it asks for, so that the Engine switches labels off for it: what is asked for
/// may be the pod's, as for the others in it, and to be privileged is not to be held by that.
pub(super) fn options(
    asked: Option<&SeLinuxOption>,
    privileged: bool,
    sandbox_label: &str,
    facts: &EngineFacts,
) -> Result<Vec<String>, Invalid> {
    let Some(asked) = asked else { return Ok(Vec::new()) };
    let level = match asked.level.as_str() {
        "" => level_of(sandbox_label),
        level => level,
    };
    let parts = [
        ("user", asked.user.as_str()),
        ("role", &asked.role),
        ("type", &asked.r#type),
        ("level", level),
    ];
    for (name, value) in parts {
        let fits = if name == "level" {
            is_level(value)
        } else {
            is_name(value)
        };
        if !value.is_empty() && !fits {
            let why = format!("{value:?} is not an SELinux {name}");
            return Err(Invalid::new(format!("selinux_options.{name}"), why));
        }
    }
    if privileged || !facts.selinux || *asked == SeLinuxOption::default() {
        return Ok(Vec::new());
    }
    let given = parts.iter().filter(|(_, value)| !value.is_empty());
    Ok(given
        .map(|(name, value)| format!("label={name}:{value}"))
        .collect())
}

/// The level of `user:role:type:level`, which may itself contain colons.
fn level_of(label: &str) -> &str {
    label.splitn(4, ':').nth(3).unwrap_or_default()
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
    fn the_label_yields_its_level() {
        for (label, level) in [
            ("system_u:system_r:container_t:s0:c1,c2", "s0:c1,c2"),
            ("system_u:system_r:container_t:s0", "s0"),
            ("unconfined", ""),
            ("", ""),
        ] {
            assert_eq!(level_of(label), level);
        }
    }
}
