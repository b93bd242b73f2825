//! The two ways in which CRI names a seccomp or AppArmor profile.

use cri::{SecurityProfile, security_profile::ProfileType};

use crate::Invalid;

/// A profile as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile<'a> {
    RuntimeDefault,
    Unconfined,
    /// A file's path for seccomp, a loaded profile's name for AppArmor; never empty.
    Localhost(&'a str),
}

/// The names of the message field and of the older text field beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) field: &'static str,
    pub(super) deprecated: &'static str,
}

impl Fields {
    /// What the two fields ask for together: the message wins, since kubelets of the years between
    /// fill both.
    pub(super) fn read<'a>(
        self,
        profile: Option<&'a SecurityProfile>,
        deprecated: &'a str,
    ) -> Result<Option<Profile<'a>>, Invalid> {
        let Some(profile) = profile else {
            return self.read_deprecated(deprecated);
        };
        let kind = ProfileType::try_from(profile.profile_type).map_err(|_| {
            let why = format!("{} is not a known profile type", profile.profile_type);
            Invalid::new(format!("{}.profile_type", self.field), why)
        })?;
        match kind {
            ProfileType::RuntimeDefault => Ok(Some(Profile::RuntimeDefault)),
            ProfileType::Unconfined => Ok(Some(Profile::Unconfined)),
            ProfileType::Localhost => {
                let name = profile.localhost_ref.strip_prefix("localhost/");
                localhost(
                    name.unwrap_or(&profile.localhost_ref),
                    format!("{}.localhost_ref", self.field),
                )
            }
        }
    }

    fn read_deprecated(self, text: &str) -> Result<Option<Profile<'_>>, Invalid> {
        match text {
            "" => Ok(None),
            "runtime/default" | "docker/default" => Ok(Some(Profile::RuntimeDefault)),
            "unconfined" => Ok(Some(Profile::Unconfined)),
            text => match text.strip_prefix("localhost/") {
                Some(name) => localhost(name, self.deprecated.to_owned()),
                None => Err(Invalid::new(
                    self.deprecated,
                    format!("{text:?} is none of runtime/default, unconfined and localhost/<profile>"),
                )),
            },
        }
    }
}

fn localhost(name: &str, field: String) -> Result<Option<Profile<'_>>, Invalid> {
    if name.is_empty() {
        return Err(Invalid::new(field, "names no profile"));
    }
    Ok(Some(Profile::Localhost(name)))
}
