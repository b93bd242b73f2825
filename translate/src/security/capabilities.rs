//! Capabilities.

use cri::Capability;

use crate::Invalid;

const ALL: &str = "ALL";

/// The kernel's capabilities, in the order of their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// `HostConfig.CapAdd` and `CapDrop`, as upper-case names without `CAP_`.
///
/// Kubernetes runtimes add first and then drop, except that dropping everything comes before adding
/// single ones; the Engine lets every addition win. Taking the dropped names out of the additions makes
/// the two agree. All of them are those that the Engine's own process has, `known`: an old Engine would ask for others
/// too, and the container would not start.
pub(super) fn read(
    asked: Option<&Capability>,
    known: Option<u64>,
) -> Result<(Vec<String>, Vec<String>), Invalid> {
    let Some(asked) = asked else {
        return Ok(Default::default());
    };
    if let Some(name) = asked.add_ambient_capabilities.first() {
        let why = format!("Docker Engine cannot give ambient capabilities (asked: {name:?})");
        return Err(Invalid::new("capabilities.add_ambient_capabilities", why));
    }
    let mut add = names(&asked.add_capabilities, "capabilities.add_capabilities")?;
    let mut drop = names(&asked.drop_capabilities, "capabilities.drop_capabilities")?;
    add.retain(|name| !drop.contains(name));
    if add.iter().any(|name| name == ALL) {
        let lacking = known.into_iter().flat_map(lacking);
        drop.extend(lacking.map(str::to_owned));
        drop.sort_unstable();
        drop.dedup();
    }
    Ok((add, drop))
}

/// What is missing from `set` below the highest one in it: the kernel need not know those above.
fn lacking(set: u64) -> impl Iterator<Item = &'static str> {
    let all = NAMES.iter().enumerate();
    all.filter(move |(number, _)| set >> number != 0 && set >> number & 1 == 0)
        .map(|(_, name)| *name)
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
            let (got_add, got_drop) = read(Some(&asked(&add, &drop)), None).unwrap();
            assert_eq!(
                (got_add, got_drop),
                (
                    expect_add.iter().map(|s: &&str| (*s).to_owned()).collect(),
                    expect_drop.iter().map(|s: &&str| (*s).to_owned()).collect(),
                ),
                "add {add:?} drop {drop:?}"
            );
        }
        assert_eq!(read(None, None).unwrap(), (vec![], vec![]));
    }

    #[test]
    fn all_are_those_that_the_engine_has() {
        // Without 24, and of a kernel that knows 40 and no more.
        let known = Some(0x1ff_feff_ffff);
        let with = |add: &[&str], drop: &[&str]| read(Some(&asked(add, drop)), known).unwrap().1;
        assert_eq!(with(&["ALL"], &[]), ["SYS_RESOURCE"]);
        assert_eq!(
            with(&["all"], &["SYS_RESOURCE", "CHOWN"]),
            ["CHOWN", "SYS_RESOURCE"]
        );
        assert_eq!(with(&["SYS_RESOURCE"], &[]), [""; 0]);
        // An older kernel knows fewer.
        let older = read(Some(&asked(&["ALL"], &[])), Some(0x3f_ffff_ffff)).unwrap();
        assert_eq!(older, (vec!["ALL".to_owned()], vec![]));
    }

    #[test]
    fn refuses() {
        let error = read(Some(&asked(&["KILL", ""], &[])), None).unwrap_err();
        assert_eq!(error.field, "capabilities.add_capabilities[1]");
        let error = read(Some(&asked(&[], &["NET RAW"])), None).unwrap_err();
        assert_eq!(error.field, "capabilities.drop_capabilities[0]");
        let ambient = Capability {
            add_ambient_capabilities: vec!["NET_RAW".into()],
            ..Default::default()
        };
        let error = read(Some(&ambient), None).unwrap_err();
        assert_eq!(error.field, "capabilities.add_ambient_capabilities");
    }

    proptest! {
        #[test]
        fn never_panics(add in ".*", drop in ".*") {
            let _ = read(Some(&asked(&[&add], &[&drop])), None);
        }
    }
}
