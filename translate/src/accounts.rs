//! The users and groups of an image, and who a container's first process will be.
//!
//! The Engine reads `/etc/passwd` and `/etc/group` when it starts a container, adds the groups that they
//! give the user if the request names no group, and leaves them out if it does. Kubernetes decides that by
//! a policy of its own, so both files are read beforehand, by the Engine's rules.

use std::{
    collections::BTreeSet,
    num::{IntErrorKind, ParseIntError},
};

use cri::{LinuxContainerUser, SupplementalGroupsPolicy};

use crate::Invalid;

/// The largest id that the Engine takes.
pub(crate) const MAX_ID: i64 = i32::MAX as i64;

/// The accounts of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: String,
    uid: i64,
    gid: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    gid: i64,
    members: Vec<String>,
}

/// Who a process is started as.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    uid: i64,
    gid: i64,
    /// The groups that the image gives the user.
    memberships: Vec<i64>,
}

/// What of the user and the groups is for the Engine to do, and what comes of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    /// `Config.User`; `None` is the image's.
    pub(crate) user: Option<String>,
    /// `HostConfig.GroupAdd`.
    pub(crate) group_add: Vec<String>,
    /// What ContainerStatus says of it.
    pub(crate) identity: LinuxContainerUser,
}

impl Accounts {
    /// Reads the texts of `/etc/passwd` and `/etc/group`; an image without one has an empty one.
    ///
    /// As the Engine does it, lines that make no sense count as well as others do: a number that is missing or cannot be
    /// read is 0. It knows comments in `/etc/group` only.
    pub fn read(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let mut fields = line.split(':');
            User {
                name: fields.next().unwrap_or_default().to_owned(),
                uid: number(fields.nth(1)),
                gid: number(fields.next()),
            }
        };
        let group_of = |line: &str| {
            let mut fields = line.split(':');
            Group {
                name: fields.next().unwrap_or_default().to_owned(),
                gid: number(fields.nth(1)),
                members: fields
                    .next()
                    .filter(|list| !list.is_empty())
                    .map(|list| list.split(',').map(str::to_owned).collect())
                    .unwrap_or_default(),
            }
        };
        Self {
            users: lines_of(passwd).map(user).collect(),
            groups: lines_of(group)
                .filter(|line| !line.starts_with('#'))
                .map(group_of)
                .collect(),
        }
    }

    /// The identity that the Engine gives `user` or `user:group`, each a name or a number; nothing is root.
    fn identity(&self, spec: &str) -> Result<Identity, String> {
        let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
        let number: Option<i64> = user.parse().ok();
        // What is a number is never taken for a name.
        let entry = self.users.iter().find(|known| match (user, number) {
            ("", _) => known.uid == 0,
            (_, Some(uid)) => known.uid == uid,
            (name, None) => known.name == name,
        });
        let uid = match (entry, user, number) {
            (Some(entry), ..) => entry.uid,
            (None, "", _) => 0,
            (None, _, Some(uid)) => uid,
            (None, name, None) => return Err(format!("the image has no user {name:?}")),
        };
        // Nobody without a name is looked for.
        let memberships = entry.map_or_else(Vec::new, |entry| {
            let member = |known: &&Group| !entry.name.is_empty() && known.members.contains(&entry.name);
            self.groups.iter().filter(member).map(|known| known.gid).collect()
        });
        let gid = match (group, group.parse::<i64>()) {
            ("", _) => entry.map_or(0, |entry| entry.gid),
            (_, Ok(gid)) => gid,
            (name, Err(_)) => {
                let known = self.groups.iter().find(|known| known.name == name);
                known
                    .ok_or_else(|| format!("the image has no group {name:?}"))?
                    .gid
            }
        };
        if ![uid, gid].iter().all(|id| (0..=MAX_ID).contains(id)) {
            return Err(format!("{uid}:{gid} is not between 0 and {MAX_ID}"));
        }
        Ok(Identity {
            uid,
            gid,
            memberships,
        })
    }

    /// Settles who a container runs as: `asked` is the request's `user` or `user:group` if it names one,
    /// `image_user` the image's own, `supplemental` the request's further groups. What cannot be is blamed on `field`,
    /// which has said who it is.
    ///
    /// Merge gives the user the image's groups and the request's, Strict only the request's. The primary
    /// group is always among them, as the Engine has it.
    pub(crate) fn settle(
        &self,
        asked: Option<String>,
        field: &str,
        image_user: &str,
        supplemental: &[i64],
        policy: SupplementalGroupsPolicy,
    ) -> Result<Settled, Invalid> {
        let spec = asked.as_deref().unwrap_or(image_user);
        let identity = self
            .identity(spec)
            .map_err(|why| Invalid::new(field, format!("{why} (user {spec:?})")))?;
        let (name, group) = spec.split_once(':').unwrap_or((spec, ""));
        let mut added = Vec::new();
        let mut user = asked.clone();
        match policy {
            SupplementalGroupsPolicy::Merge if group.is_empty() => {}
            // With a group in the user the Engine leaves the image's groups out.
            SupplementalGroupsPolicy::Merge => added.extend(&identity.memberships),
            SupplementalGroupsPolicy::Strict if group.is_empty() => {
                let name = if name.is_empty() { "0" } else { name };
                user = Some(format!("{name}:{}", identity.gid));
            }
            SupplementalGroupsPolicy::Strict => {}
        }
        added.extend(supplemental);
        let mut all: BTreeSet<i64> = added.iter().copied().chain([identity.gid]).collect();
        if policy == SupplementalGroupsPolicy::Merge {
            all.extend(&identity.memberships);
        }
        Ok(Settled {
            user,
            group_add: added.iter().map(ToString::to_string).collect(),
            identity: LinuxContainerUser {
                uid: identity.uid,
                gid: identity.gid,
                supplemental_groups: all.into_iter().collect(),
            },
        })
    }
}

fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// A number as the Engine reads it: what is too large for 64 bits is the largest.
fn number(text: Option<&str>) -> i64 {
    text.unwrap_or_default()
        .parse()
        .unwrap_or_else(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => i64::MAX,
            IntErrorKind::NegOverflow => i64::MIN,
            _ => 0,
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# note\n+\nmember:x:1000:1000::/home/member:/bin/sh\n7:x:1001:1001:::\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,member\nmember:x:1000:\nmore:x:50000:other,member\nbroken:x:what:member\n";

    fn accounts() -> Accounts {
        Accounts::read(PASSWD, GROUP)
    }

    #[test]
    fn policies_and_explicit_groups() {
        use SupplementalGroupsPolicy::{Merge, Strict};
        // asked, the image's, further groups, policy; user sent, groups sent, identity
        type Case<'a> = (
            Option<&'a str>,
            &'a str,
            &'a [i64],
            SupplementalGroupsPolicy,
            Option<&'a str>,
            &'a [&'a str],
            (i64, i64, &'a [i64]),
        );
        let cases: [Case<'_>; 13] = [
            (None, "", &[], Merge, None, &[], (0, 0, &[0, 10])),
            (None, "", &[], Strict, Some("0:0"), &[], (0, 0, &[0])),
            (
                None,
                "member",
                &[5],
                Merge,
                None,
                &["5"],
                (1000, 1000, &[0, 5, 10, 1000, 50000]),
            ),
            (
                None,
                "member",
                &[5],
                Strict,
                Some("member:1000"),
                &["5"],
                (1000, 1000, &[5, 1000]),
            ),
            (
                None,
                "member:wheel",
                &[],
                Merge,
                None,
                &["10", "50000", "0"],
                (1000, 10, &[0, 10, 50000]),
            ),
            (None, "member:wheel", &[], Strict, None, &[], (1000, 10, &[10])),
            (
                Some("1000"),
                "",
                &[7],
                Merge,
                Some("1000"),
                &["7"],
                (1000, 1000, &[0, 7, 10, 1000, 50000]),
            ),
            (
                Some("1000"),
                "",
                &[7],
                Strict,
                Some("1000:1000"),
                &["7"],
                (1000, 1000, &[7, 1000]),
            ),
            (
                Some("1000:33"),
                "",
                &[7],
                Merge,
                Some("1000:33"),
                &["10", "50000", "0", "7"],
                (1000, 33, &[0, 7, 10, 33, 50000]),
            ),
            (
                Some("1000:33"),
                "",
                &[7],
                Strict,
                Some("1000:33"),
                &["7"],
                (1000, 33, &[7, 33]),
            ),
            (
                Some("4242"),
                "member",
                &[],
                Merge,
                Some("4242"),
                &[],
                (4242, 0, &[0]),
            ),
            (
                Some("4242"),
                "member",
                &[],
                Strict,
                Some("4242:0"),
                &[],
                (4242, 0, &[0]),
            ),
            // A number is never a name.
            (Some("7"), "", &[], Merge, Some("7"), &[], (7, 0, &[0])),
        ];
        for (asked, image, further, policy, user, added, (uid, gid, groups)) in cases {
            let settled = accounts()
                .settle(asked.map(str::to_owned), "user", image, further, policy)
                .unwrap();
            let case = format!("{asked:?} {image:?} {policy:?}");
            assert_eq!(settled.user.as_deref(), user, "{case}");
            assert_eq!(settled.group_add, added, "{case}");
            let has = &settled.identity;
            assert_eq!(
                (has.uid, has.gid, &*has.supplemental_groups),
                (uid, gid, groups),
                "{case}"
            );
        }
    }

    #[test]
    fn an_image_without_accounts_has_numbers_only() {
        let none = Accounts::default();
        let settle = |asked: &str| {
            none.settle(
                Some(asked.to_owned()),
                "name",
                "",
                &[],
                SupplementalGroupsPolicy::Merge,
            )
            .map(|settled| (settled.identity.uid, settled.identity.gid))
        };
        assert_eq!(settle("12:13"), Ok((12, 13)));
        assert!(settle("nobody").unwrap_err().why.contains("no user \"nobody\""));
        assert!(settle("1:staff").unwrap_err().why.contains("no group \"staff\""));
        assert!(settle("99999999999").is_err());
        let error = none
            .settle(None, "image", "www", &[], SupplementalGroupsPolicy::Merge)
            .unwrap_err();
        assert_eq!(error.field, "image");
    }

    #[test]
    fn lines_that_make_no_sense_are_read_as_the_engine_reads_them() {
        let passwd =
            "# note\n\n  spaces:x:5:6  \nshort\nword:x:many:7\nlarge:x:99999999999999999999:1\n:x:8:8\n";
        let group = "#off:x:30:short\n:x:31:\nnameless:x:32:,short\nfew:x\nwhat:x:y:short\n";
        let accounts = Accounts::read(passwd, group);
        let identity = |spec: &str| {
            let found = accounts.identity(spec).ok()?;
            Some((found.uid, found.gid, found.memberships))
        };
        for (spec, expected) in [
            ("# note", Some((0, 0, vec![]))),
            ("spaces", Some((5, 6, vec![]))),
            ("short", Some((0, 0, vec![32, 0]))),
            ("word", Some((0, 7, vec![]))),
            ("large", None),
            // A user without a name is in no group, even in one with a member without a name.
            ("8", Some((8, 8, vec![]))),
            ("5:few", Some((5, 0, vec![]))),
            ("5:#off", None),
        ] {
            assert_eq!(identity(spec), expected, "{spec}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(passwd in "([a-z0-9:,+\n-]|.)*", group in "([a-z0-9:,\n]|.)*", spec in "[a-z0-9:]*|.*") {
            let accounts = Accounts::read(&passwd, &group);
            for policy in [SupplementalGroupsPolicy::Merge, SupplementalGroupsPolicy::Strict] {
                if let Ok(settled) = accounts.settle(Some(spec.clone()), "user", "", &[1], policy) {
                    prop_assert!(settled.identity.supplemental_groups.contains(&settled.identity.gid));
                }
            }
        }
    }
}
