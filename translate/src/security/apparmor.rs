//! AppArmor as a security option.

use super::profile::Profile;
use crate::{
    Invalid,
    facts::{EngineFacts, HostView},
};

const NAME: &str = "apparmor.localhost_ref";

/// The Engine's option, if one is needed, and what could not be checked.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) option: Option<String>,
    pub(super) caveat: Option<String>,
}

/// The Engine's option for a profile.
///
/// The Engine notices a profile that is not loaded only at start, and CRI wants the failure at
/// creation, so the kernel's list is consulted here. Where AppArmor is off, a request for a profile is
/// refused: the container would run unconfined where its author counted on being confined.
pub(super) fn option(
    asked: Option<Profile<'_>>,
    privileged: bool,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<Applied, Invalid> {
    let option = |profile: &str| Some(format!("apparmor={profile}"));
    let (option, caveat) = match asked {
        None => (None, None),
        Some(Profile::Unconfined) if !facts.apparmor => (None, None),
        Some(_) if !facts.apparmor => {
            let why = "a profile is asked for, but AppArmor is off on the engine's host";
            return Err(Invalid::new("apparmor", why));
        }
        Some(Profile::Unconfined) => (option("unconfined"), None),
        // Left alone, the Engine confines every container but the privileged ones.
        Some(Profile::RuntimeDefault) => (privileged.then(|| "apparmor=docker-default".to_owned()), None),
        Some(Profile::Localhost(name)) => (option(name), check_loaded(name, host)?),
    };
    Ok(Applied { option, caveat })
}

fn check_loaded(name: &str, host: &HostView) -> Result<Option<String>, Invalid> {
    match &host.apparmor_profiles {
        // To the Engine the word is no profile's name.
        _ if name == "unconfined" => Err(Invalid::new(
            NAME,
            "unconfined is not the name of a loaded profile",
        )),
        Some(loaded) if !loaded.contains(name) => Err(Invalid::new(
            NAME,
            format!("the AppArmor profile {name:?} is not loaded on this node"),
        )),
        Some(_) => Ok(None),
        None => Ok(Some(format!(
            "AppArmor profile {name:?}: the kernel's list of loaded profiles cannot be read, so a missing \
             one shows only at start"
        ))),
    }
}
