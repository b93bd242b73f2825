//! Capabilities.

use cri::Capability;

use crate::Invalid;

const ALL: &str = "ALL";

/// `HostConfig.CapAdd` and `CapDrop`, as upper-case names without `CAP_`.
///
/// Kubernetes runtimes add first and then drop, except that dropping everything comes before adding
/// single ones; the Engine lets every addition win. Taking the dropped names out of the additions makes
/// the two agree.
pub(super) fn read(asked: Option<&Capability>) -> Result<(Vec<String>, Vec<String>), Invalid> {
    let Some(asked) = asked else {
        return Ok(Default::default());
    };
    if let Some(name) = asked.add_ambient_capabilities.first() {
        let why = format!("Docker Engine cannot give ambient capabilities (asked: {name:?})");
        return Err(Invalid::new("capabilities.add_ambient_capabilities", why));
    }
    let mut add = names(&asked.add_capabilities, "capabilities.add_capabilities")?;
    let drop = names(&asked.drop_capabilities, "capabilities.drop_capabilities")?;
    add.retain(|name| !drop.contains(name));
    Ok((add, drop))
}

fn names(list: &[String], field: &str) -> Result<Vec<String>, Invalid> {
    let mut out = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        let name = text.to_ascii_uppercase();
        let name = match name.strip_prefix("CAP_") {
            // `CAP_ALL` is no capability and no word of the Engine's either.
            Some(rest) if rest != ALL => rest,
            _ => &name,
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(Invalid::new(
                format!("{field}[{index}]"),
                format!("{text:?} is not a capability"),
            ));
        }
        if !out.iter().any(|seen| seen == name) {
            out.push(name.to_owned());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn asked(add: &[&str], drop: &[&str]) -> Capability {
        let own = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
        Capability {
            add_capabilities: own(add),
            drop_capabilities: own(drop),
            add_ambient_capabilities: vec![],
        }
    }

    #[test]
    fn additions_and_drops() {
        for (add, drop, expect_add, expect_drop) in [
            (vec![], vec![], vec![], vec![]),
            (
                vec!["NET_ADMIN"],
                vec!["CAP_NET_RAW"],
                vec!["NET_ADMIN"],
                vec!["NET_RAW"],
            ),
            (
                vec!["cap_sys_admin", "SYS_ADMIN"],
                vec![],
                vec!["SYS_ADMIN"],
                vec![],
            ),
            (vec!["all"], vec![], vec!["ALL"], vec![]),
            (vec!["CHOWN"], vec!["ALL"], vec!["CHOWN"], vec!["ALL"]),
            (vec!["ALL"], vec!["SYS_ADMIN"], vec!["ALL"], vec!["SYS_ADMIN"]),
            (vec!["ALL", "CHOWN"], vec!["ALL"], vec!["CHOWN"], vec!["ALL"]),
            (
                vec!["CHOWN", "KILL"],
                vec!["ALL", "KILL"],
                vec!["CHOWN"],
                vec!["ALL", "KILL"],
            ),
            (vec!["CAP_KILL"], vec!["kill"], vec![], vec!["KILL"]),
        ] {
            let (got_add, got_drop) = read(Some(&asked(&add, &drop))).unwrap();
            assert_eq!(
                (got_add, got_drop),
                (
                    expect_add.iter().map(|s: &&str| (*s).to_owned()).collect(),
                    expect_drop.iter().map(|s: &&str| (*s).to_owned()).collect(),
                ),
                "add {add:?} drop {drop:?}"
            );
        }
        assert_eq!(read(None).unwrap(), (vec![], vec![]));
    }

    #[test]
    fn refuses() {
        let error = read(Some(&asked(&["KILL", ""], &[]))).unwrap_err();
        assert_eq!(error.field, "capabilities.add_capabilities[1]");
        let error = read(Some(&asked(&[], &["NET RAW"]))).unwrap_err();
        assert_eq!(error.field, "capabilities.drop_capabilities[0]");
        let ambient = Capability {
            add_ambient_capabilities: vec!["NET_RAW".into()],
            ..Default::default()
        };
        let error = read(Some(&ambient)).unwrap_err();
        assert_eq!(error.field, "capabilities.add_ambient_capabilities");
    }

    proptest! {
        #[test]
        fn never_panics(add in ".*", drop in ".*") {
            let _ = read(Some(&asked(&[&add], &[&drop])));
        }
    }
}
