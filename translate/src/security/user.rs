//! User and groups.

use cri::{Int64Value, SupplementalGroupsPolicy};

use crate::{Invalid, accounts::MAX_ID};

const POLICY: &str = "supplemental_groups_policy";

/// `Config.User`.
///
/// CRI allows one of uid and name; should both come, the name wins, as in containerd and cri-dockerd,
/// so that a node moved from either behaves the same. A group needs a user beside it, or the Engine would
/// read it as one.
pub(super) fn user(
    uid: Option<Int64Value>,
    name: &str,
    gid: Option<Int64Value>,
) -> Result<Option<String>, Invalid> {
    let uid = uid.map(|uid| id(uid.value, "run_as_user")).transpose()?;
    let gid = gid.map(|gid| id(gid.value, "run_as_group")).transpose()?;
    if name.contains(|c: char| c == ':' || c.is_control()) {
        return Err(Invalid::new(
            "run_as_username",
            format!("{name:?} is not a user name"),
        ));
    }
    let user = if name.is_empty() {
        uid
    } else {
        Some(name.to_owned())
    };
    match (user, gid) {
        (Some(user), Some(gid)) => Ok(Some(format!("{user}:{gid}"))),
        (user, None) => Ok(user),
        (None, Some(gid)) => Err(Invalid::new(
            "run_as_group",
            format!("{gid} is set, but neither run_as_user nor run_as_username is"),
        )),
    }
}

/// `HostConfig.GroupAdd`.
pub(super) fn groups(gids: &[i64]) -> Result<Vec<String>, Invalid> {
    let each = |(index, gid): (usize, &i64)| id(*gid, &format!("supplemental_groups[{index}]"));
    gids.iter().enumerate().map(each).collect()
}

/// Reads the number of the policy for the groups that the image gives the user.
pub(super) fn known_policy(policy: i32) -> Result<SupplementalGroupsPolicy, Invalid> {
    SupplementalGroupsPolicy::try_from(policy)
        .map_err(|_| Invalid::new(POLICY, format!("{policy} is not a known policy")))
}

/// What is lost where a request names its user twice.
pub(super) fn both(uid: Option<Int64Value>, name: &str) -> Option<String> {
    let uid = uid.filter(|_| !name.is_empty())?.value;
    Some(format!(
        "run_as_user {uid}: passed over, run_as_username {name:?} is given too"
    ))
}

/// The Engine takes ids up to the largest signed 32-bit number.
fn id(value: i64, field: &str) -> Result<String, Invalid> {
    if (0..=MAX_ID).contains(&value) {
        Ok(value.to_string())
    } else {
        Err(Invalid::new(
            field,
            format!("{value} is not between 0 and {MAX_ID}"),
        ))
    }
}
