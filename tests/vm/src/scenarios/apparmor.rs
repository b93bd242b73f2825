//! AppArmor, which a host of the other tests need not have.

use std::fs;

use cri::{PodSandboxConfig, SecurityProfile, security_profile::ProfileType};
use support::{SLEEP, container_of};

use crate::node::{cri, image, pid, read, run, run_container};

/// Forbids one thing, so that it is seen to be in force.
const PROFILE: &str = "profile vm-tests flags=(attach_disconnected, mediate_deleted) {\n  \
    file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,\n  \
    deny /forbidden w,\n}\n";

const LOADED: &str = "vm-tests (enforce)";
const DEFAULT: &str = "docker-default (enforce)";

fn field(kind: ProfileType, name: &str) -> Option<SecurityProfile> {
    Some(SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: name.into(),
    })
}

#[expect(deprecated, reason = "kubelets still send the text along with the field")]
pub(crate) async fn profiles_are_in_force() {
    use ProfileType::{Localhost, RuntimeDefault, Unconfined};

    assert_eq!(read("/sys/module/apparmor/parameters/enabled"), "Y");
    fs::write("/etc/apparmor.d/vm-tests", PROFILE).unwrap();
    run(&["apparmor_parser", "--replace", "/etc/apparmor.d/vm-tests"]);
    let (cri, image) = (cri(), image().await);
    // A privileged container wants a privileged pod; its others are confined nevertheless.
    let privileged = |config: &mut PodSandboxConfig| {
        let context = config.linux.as_mut().unwrap().security_context.as_mut();
        context.unwrap().privileged = true;
    };
    let pod = run_container("confined", privileged, |_| {}).await;
    // The text is what there was before the field.
    for (name, privileged, apparmor, text, expected) in [
        ("field", false, field(Localhost, "vm-tests"), "", LOADED),
        ("text", false, None, "localhost/vm-tests", LOADED),
        ("default", false, field(RuntimeDefault, ""), "", DEFAULT),
        ("unconfined", false, field(Unconfined, ""), "", "unconfined"),
        (
            "field-first",
            false,
            field(Localhost, "vm-tests"),
            "localhost/missing",
            LOADED,
        ),
        ("privileged", true, None, "", "unconfined"),
    ] {
        let mut config = container_of(&pod.config, name, &image, SLEEP);
        let linux = config.linux.as_mut().unwrap();
        let context = linux.security_context.get_or_insert_default();
        (context.privileged, context.apparmor) = (privileged, apparmor);
        text.clone_into(&mut context.apparmor_profile);
        let id = cri.run_container(&pod.sandbox, &pod.config, &config).await;
        let inside = read(format!("/proc/{}/attr/current", pid(&id)));
        assert_eq!(inside, expected, "{name}");
        if name == "field" {
            let script = "cat /proc/1/attr/current; touch /allowed /forbidden 2>&1; ls /forbidden /allowed 2>/dev/null";
            let said = cri.sh(&id, &format!("{script}; true")).await;
            assert!(said.starts_with(LOADED), "{said}");
            assert!(
                said.contains("Permission denied") && said.ends_with("/allowed"),
                "{said}"
            );
        }
    }
    assert_eq!(
        read(format!("/proc/{}/attr/current", pid(&pod.container))),
        DEFAULT
    );

    for (name, apparmor, text) in [
        ("no-field", field(Localhost, "missing"), "runtime/default"),
        ("no-text", None, "localhost/missing"),
    ] {
        let mut config = container_of(&pod.config, name, &image, SLEEP);
        let linux = config.linux.as_mut().unwrap();
        let context = linux.security_context.get_or_insert_default();
        context.apparmor = apparmor;
        text.clone_into(&mut context.apparmor_profile);
        let refused = cri
            .try_create(&pod.sandbox, &pod.config, &config)
            .await
            .expect_err(name);
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{name}: {refused}");
        assert!(
            refused
                .message()
                .contains("the AppArmor profile \"missing\" is not loaded"),
            "{name}: {refused}"
        );
    }
    pod.remove().await;
    run(&["apparmor_parser", "--remove", "/etc/apparmor.d/vm-tests"]);
    fs::remove_file("/etc/apparmor.d/vm-tests").unwrap();
}
