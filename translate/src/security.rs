//! Who a container runs as and what it may do.

use bollard_stubs::models::HostConfigCgroupnsModeEnum as CgroupnsMode;
use cri::{LinuxContainerSecurityContext, LinuxContainerUser, LinuxSandboxSecurityContext};

use crate::{
    Invalid,
    facts::{EngineFacts, HostView},
    paths,
};

mod apparmor;
mod capabilities;
mod profile;
mod seccomp;
mod selinux;
mod user;

use profile::{Fields, Profile};

const FIELD: &str = "config.linux.security_context";
/// What has said who a container runs as, where the security context has not.
const IMAGE: &str = "config.image";

const SECCOMP: Fields = Fields {
    field: "seccomp",
    deprecated: "seccomp_profile_path",
};
const APPARMOR: Fields = Fields {
    field: "apparmor",
    deprecated: "apparmor_profile",
};

/// The security part of the Engine's create request.
#[derive(Debug, Clone, PartialEq)]
pub struct SecuritySettings {
    /// `Config.User`: `user` or `user:group`; `None` is the image's.
    pub user: Option<String>,
    /// `HostConfig.GroupAdd`.
    pub group_add: Vec<String>,
    /// Who the first process will be; `None` for a sandbox, of which nobody asks.
    pub identity: Option<LinuxContainerUser>,
    /// `HostConfig.CapAdd`.
    pub cap_add: Vec<String>,
    /// `HostConfig.CapDrop`.
    pub cap_drop: Vec<String>,
    /// `HostConfig.Privileged`.
    pub privileged: bool,
    /// `HostConfig.ReadonlyRootfs`.
    pub readonly_rootfs: bool,
    /// `HostConfig.SecurityOpt`.
    pub security_opt: Vec<String>,
    /// `HostConfig.MaskedPaths`: `None` is the Engine's default, an empty list is none.
    pub masked_paths: Option<Vec<String>>,
    /// `HostConfig.ReadonlyPaths`, likewise.
    pub readonly_paths: Option<Vec<String>>,
    /// `HostConfig.CgroupnsMode`.
    pub cgroupns: CgroupnsMode,
    /// What the Engine cannot do as asked, for the log.
    pub caveats: Vec<String>,
}

/// What a container's security depends on in its sandbox.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pod<'a> {
    /// Whether the pod has privileged containers.
    pub privileged: bool,
    /// The SELinux label of the sandbox's process; empty without SELinux.
    pub process_label: &'a str,
}

/// The file of a container's `Localhost` seccomp profile, to be read into [`HostView::seccomp_profile`].
///
/// `None` also for a profile that is ignored (privileged) or refused (not an absolute path).
pub fn localhost_seccomp(context: Option<&LinuxContainerSecurityContext>) -> Option<&str> {
    let context = context.filter(|context| !context.privileged)?;
    seccomp::path(SECCOMP.read(context.seccomp.as_ref(), deprecated_seccomp(context)))
}

/// The same for a sandbox.
pub fn sandbox_localhost_seccomp(context: Option<&LinuxSandboxSecurityContext>) -> Option<&str> {
    let context = context?;
    seccomp::path(SECCOMP.read(context.seccomp.as_ref(), deprecated_sandbox_seccomp(context)))
}

/// The security settings of a container.
///
/// A context that is absent is one with nothing set, except that the Engine's masked paths stay:
/// seccomp is then off, as CRI says of a profile that is not given.
pub fn container(
    context: Option<&LinuxContainerSecurityContext>,
    pod: Pod<'_>,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<SecuritySettings, Invalid> {
    let given = context.is_some();
    let absent = LinuxContainerSecurityContext::default();
    let context = context.unwrap_or(&absent);
    read_container(context, given, pod, facts, host).map_err(|error| {
        if error.field == IMAGE {
            error
        } else {
            error.within(FIELD)
        }
    })
}

fn read_container(
    context: &LinuxContainerSecurityContext,
    given: bool,
    pod: Pod<'_>,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<SecuritySettings, Invalid> {
    let privileged = context.privileged;
    if privileged && !pod.privileged {
        return Err(Invalid::new(
            "privileged",
            "no privileged container can be in a pod whose sandbox_config does not say so",
        ));
    }
    let mut caveats = Vec::new();
    let asked = user::user(
        context.run_as_user,
        &context.run_as_username,
        context.run_as_group,
    )?;
    caveats.extend(user::both(context.run_as_user, &context.run_as_username));
    user::groups(&context.supplemental_groups)?;
    let named_by = match asked {
        None => IMAGE,
        Some(_) if context.run_as_username.is_empty() => "run_as_user",
        Some(_) => "run_as_username",
    };
    let who = host.accounts.settle(
        asked,
        named_by,
        &host.image_user,
        &context.supplemental_groups,
        user::known_policy(context.supplemental_groups_policy)?,
    )?;
    let (cap_add, cap_drop) = capabilities::read(context.capabilities.as_ref(), host.engine_capabilities)?;

    let seccomp = SECCOMP.read(context.seccomp.as_ref(), deprecated_seccomp(context))?;
    // The Engine would apply a profile to a privileged container too, which Kubernetes never does.
    let seccomp = match seccomp {
        _ if privileged => Profile::Unconfined,
        asked => asked.unwrap_or(Profile::Unconfined),
    };
    let apparmor = APPARMOR.read(context.apparmor.as_ref(), deprecated_apparmor(context))?;
    let apparmor = apparmor::option(apparmor, privileged, facts, host)?;
    caveats.extend(apparmor.caveat);

    let mut security_opt = vec![format!("no-new-privileges={}", context.no_new_privs)];
    security_opt.extend(seccomp::option(seccomp, facts, host)?);
    security_opt.extend(apparmor.option);
    security_opt.extend(selinux::options(
        context.selinux_options.as_ref(),
        privileged,
        pod.process_label,
        facts,
    )?);

    let hidden = |paths: &[String], field: &str| -> Result<Option<Vec<String>>, Invalid> {
        for (index, path) in paths.iter().enumerate() {
            paths::absolute(path, &format!("{field}[{index}]"))?;
        }
        Ok((given && !privileged).then(|| paths.to_vec()))
    };
    Ok(SecuritySettings {
        user: who.user,
        group_add: who.group_add,
        identity: Some(who.identity),
        cap_add,
        cap_drop,
        privileged,
        readonly_rootfs: context.readonly_rootfs,
        security_opt,
        masked_paths: hidden(&context.masked_paths, "masked_paths")?,
        readonly_paths: hidden(&context.readonly_paths, "readonly_paths")?,
        cgroupns: cgroupns(privileged, facts),
        caveats,
    })
}

/// The security settings of a sandbox's pause container.
///
/// It does nothing but wait, so it is never privileged and never gains privileges, whatever the pod is
/// made for, and is confined by the default profiles unless the request says otherwise.
pub fn sandbox(
    context: Option<&LinuxSandboxSecurityContext>,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<SecuritySettings, Invalid> {
    let absent = LinuxSandboxSecurityContext::default();
    read_sandbox(context.unwrap_or(&absent), facts, host).map_err(|error| error.within(FIELD))
}

fn read_sandbox(
    context: &LinuxSandboxSecurityContext,
    facts: &EngineFacts,
    host: &HostView,
) -> Result<SecuritySettings, Invalid> {
    // What the policy asks of a container is not for the pause image, which has no groups.
    user::known_policy(context.supplemental_groups_policy)?;
    let seccomp = SECCOMP.read(context.seccomp.as_ref(), deprecated_sandbox_seccomp(context))?;
    let apparmor = APPARMOR.read(context.apparmor.as_ref(), "")?;
    let apparmor = apparmor::option(apparmor, false, facts, host)?;

    let mut security_opt = vec!["no-new-privileges=true".to_owned()];
    security_opt.extend(match seccomp {
        // The kubelet asks for the default on every sandbox, also where the kernel has no seccomp.
        None | Some(Profile::RuntimeDefault) if !facts.seccomp => None,
        asked => seccomp::option(asked.unwrap_or(Profile::RuntimeDefault), facts, host)?,
    });
    security_opt.extend(apparmor.option);
    security_opt.extend(selinux::options(
        context.selinux_options.as_ref(),
        false,
        "",
        facts,
    )?);
    Ok(SecuritySettings {
        user: user::user(context.run_as_user, "", context.run_as_group)?,
        group_add: user::groups(&context.supplemental_groups)?,
        identity: None,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        privileged: false,
        readonly_rootfs: context.readonly_rootfs,
        security_opt,
        masked_paths: None,
        readonly_paths: None,
        cgroupns: cgroupns(false, facts),
        caveats: apparmor.caveat.into_iter().collect(),
    })
}

/// Kubernetes runtimes give each container its own view of the cgroup tree on cgroup v2, but let
/// privileged ones (node agents) see the node's; on v1 there is only the node's.
fn cgroupns(privileged: bool, facts: &EngineFacts) -> CgroupnsMode {
    if facts.cgroup_version == 2 && !privileged {
        CgroupnsMode::PRIVATE
    } else {
        CgroupnsMode::HOST
    }
}

#[expect(deprecated, reason = "kubelets older than 1.25 say it only here")]
fn deprecated_seccomp(context: &LinuxContainerSecurityContext) -> &str {
    &context.seccomp_profile_path
}

#[expect(deprecated, reason = "kubelets older than 1.25 say it only here")]
fn deprecated_sandbox_seccomp(context: &LinuxSandboxSecurityContext) -> &str {
    &context.seccomp_profile_path
}

#[expect(deprecated, reason = "kubelets older than 1.30 say it only here")]
fn deprecated_apparmor(context: &LinuxContainerSecurityContext) -> &str {
    &context.apparmor_profile
}

#[cfg(test)]
pub(crate) mod tests;
