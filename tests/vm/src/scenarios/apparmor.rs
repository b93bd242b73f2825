//! AppArmor, which the kernel of the booted node has.

use std::process::Command;

use cri::{ContainerConfig, LinuxContainerSecurityContext, SecurityProfile, security_profile::ProfileType};
use support::container_of;
use tonic::Code;

use crate::node::{COUNT, cri, pid, read, remove_sandbox, run, run_pod};

/// A profile that lets nobody write below /tmp.
const PROFILE: &str = "dockside-no-tmp";

/// Loads the profile, or takes it out of the kernel again.
fn parser(option: &str) {
    let file = "/run/dockside-apparmor-profile";
    let text = format!(
        "profile {PROFILE} flags=(attach_disconnected) {{\n  file,\n  signal,\n  deny /tmp/** w,\n}}\n"
    );
    std::fs::write(file, text).unwrap();
    let status = Command::new("apparmor_parser").args([option, file]).status();
    assert!(status.unwrap().success(), "apparmor_parser {option}");
}

type Context = LinuxContainerSecurityContext;

fn context(config: &mut ContainerConfig) -> &mut Context {
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}

fn localhost(name: &str) -> Option<SecurityProfile> {
    profile(ProfileType::Localhost, name)
}

fn profile(kind: ProfileType, name: &str) -> Option<SecurityProfile> {
    Some(SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: name.into(),
    })
}

#[expect(deprecated, reason = "older kubelets say it only here")]
fn old(context: &mut Context, text: &str) {
    context.apparmor_profile = text.into();
}

/// The newer field counts, then the older; what is not loaded fails at the creation, and all else is in force.
pub(crate) async fn apparmor_profiles_confine_or_fail_at_the_creation() {
    assert_eq!(read("/sys/module/apparmor/parameters/enabled"), "Y");
    run(&["apparmor_parser", "--version"]);
    let pod = run_pod("apparmor", |_| {}).await;
    let confined = |id: &str| read(format!("/proc/{}/attr/current", pid(id)));
    assert_eq!(confined(&pod.container), "docker-default (enforce)");
    assert_eq!(confined(&pod.sandbox), "docker-default (enforce)");

    type Change = fn(&mut Context);
    let unloaded: [(&str, Change); 3] = [
        ("new-unloaded", |c| c.apparmor = localhost(PROFILE)),
        ("old-unloaded", |c| old(c, &format!("localhost/{PROFILE}"))),
        ("new-goes-first", |c| {
            c.apparmor = localhost("not-there-either");
            old(c, "runtime/default");
        }),
    ];
    let config = |name: &str, change: Change| {
        let image = cri_image(&pod.container);
        let mut config = container_of(&pod.config, name, &image, COUNT);
        change(context(&mut config));
        config
    };
    for (name, change) in unloaded {
        let created = cri()
            .try_create(&pod.sandbox, &pod.config, &config(name, change))
            .await;
        let error = created.expect_err(name);
        assert_eq!(error.code(), Code::InvalidArgument, "{name}: {error}");
        assert!(error.message().contains("is not loaded"), "{name}: {error}");
    }

    parser("--replace");
    let loaded: [(&str, Change, &str); 5] = [
        (
            "new",
            |c| c.apparmor = localhost(PROFILE),
            "dockside-no-tmp (enforce)",
        ),
        (
            "old",
            |c| old(c, &format!("localhost/{PROFILE}")),
            "dockside-no-tmp (enforce)",
        ),
        (
            "both",
            |c| {
                c.apparmor = localhost(PROFILE);
                old(c, "localhost/not-there");
            },
            "dockside-no-tmp (enforce)",
        ),
        (
            "unconfined",
            |c| c.apparmor = profile(ProfileType::Unconfined, ""),
            "unconfined",
        ),
        (
            "default",
            |c| {
                c.apparmor = profile(ProfileType::RuntimeDefault, "");
                old(c, "unconfined");
            },
            "docker-default (enforce)",
        ),
    ];
    for (name, change, wanted) in loaded {
        let id = cri()
            .run_container(&pod.sandbox, &pod.config, &config(name, change))
            .await;
        assert_eq!(confined(&id), wanted, "{name}");
        let written = cri()
            .exec(&id, &["sh", "-c", "mkdir -p /tmp; touch /tmp/x"], 0)
            .await;
        let denied = written.unwrap().exit_code != 0;
        assert_eq!(denied, wanted.starts_with(PROFILE), "{name}");
    }
    remove_sandbox(&pod.sandbox).await;
    parser("--remove");
}

fn cri_image(container: &str) -> String {
    crate::node::text(&crate::node::engine().inspect(container)["Image"]).to_owned()
}
