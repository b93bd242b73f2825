#![allow(clippy::unwrap_used, clippy::expect_used, deprecated)]

use cri::{Capability, Int64Value, SeLinuxOption, SecurityProfile};
use proptest::prelude::*;

use super::*;
use crate::{
    accounts::Accounts,
    answer::{Info, Version},
    facts::ApiVersion,
};

type Context = LinuxContainerSecurityContext;

/// A recent Engine on cgroup v2 with seccomp, without AppArmor and SELinux.
pub(crate) fn facts() -> EngineFacts {
    let info = Info {
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: "2".to_owned(),
        kernel_version: "6.1.0-13-amd64".to_owned(),
        security_options: vec![
            "name=seccomp,profile=builtin".to_owned(),
            "name=cgroupns".to_owned(),
        ],
        default_runtime: "runc".to_owned(),
        cdi_spec_dirs: vec!["/etc/cdi".to_owned()],
        ..Default::default()
    };
    EngineFacts::new(&Version::default(), &info, ApiVersion::CEILING)
}

fn made(context: Context) -> SecuritySettings {
    container(Some(&context), Pod::default(), &facts(), &with_accounts()).unwrap()
}

/// What is known of an image with a user called nobody.
pub(crate) fn with_accounts() -> HostView {
    HostView {
        accounts: Accounts::read("root:x:0:0\nnobody:x:65534:65534\n", "root:x:0:\n"),
        ..HostView::default()
    }
}

fn refused(context: &Context, facts: &EngineFacts, host: &HostView) -> Invalid {
    container(Some(context), Pod::default(), facts, host).unwrap_err()
}

fn number(value: i64) -> Option<Int64Value> {
    Some(Int64Value { value })
}

fn profile(profile_type: i32, localhost_ref: &str) -> Option<SecurityProfile> {
    Some(SecurityProfile {
        profile_type,
        localhost_ref: localhost_ref.to_owned(),
    })
}

const DEFAULT: i32 = 0;
const UNCONFINED: i32 = 1;
const LOCALHOST: i32 = 2;

#[test]
fn nothing_asked() {
    let settings = container(None, Pod::default(), &facts(), &HostView::default()).unwrap();
    assert_eq!(
        settings.security_opt,
        ["no-new-privileges=false", "seccomp=unconfined"]
    );
    assert_eq!(settings.masked_paths, None);
    assert_eq!(settings.user, None);
    assert_eq!(settings.cgroupns, CgroupnsMode::PRIVATE);
    assert!(settings.caveats.is_empty());
    let empty = made(Context::default());
    assert_eq!(
        empty.masked_paths,
        Some(vec![]),
        "an empty list is a choice: no path is masked"
    );
    assert_eq!(empty.readonly_paths, Some(vec![]));
}

#[test]
fn users() {
    for (uid, name, gid, expected) in [
        (None, "", None, None),
        (number(0), "", None, Some("0")),
        (number(1000), "", number(2000), Some("1000:2000")),
        (None, "nobody", None, Some("nobody")),
        (None, "nobody", number(5), Some("nobody:5")),
        (number(1000), "nobody", None, Some("nobody")),
    ] {
        let settings = made(Context {
            run_as_user: uid,
            run_as_username: name.to_owned(),
            run_as_group: gid,
            ..Default::default()
        });
        assert_eq!(settings.user.as_deref(), expected);
        let said = |text: &str| settings.caveats.iter().any(|caveat| caveat.contains(text));
        assert_eq!(
            said("run_as_user"),
            uid.is_some() && !name.is_empty(),
            "one of two users is taken"
        );
    }
}

#[test]
fn refused_users() {
    let context = Context::default;
    for (bad, field) in [
        (
            Context {
                run_as_group: number(1),
                ..context()
            },
            "run_as_group",
        ),
        (
            Context {
                run_as_user: number(-1),
                ..context()
            },
            "run_as_user",
        ),
        (
            Context {
                run_as_user: number(1 << 31),
                ..context()
            },
            "run_as_user",
        ),
        (
            Context {
                run_as_user: number(1),
                run_as_group: number(i64::MIN),
                ..context()
            },
            "run_as_group",
        ),
        (
            Context {
                run_as_username: "a:b".into(),
                ..context()
            },
            "run_as_username",
        ),
        (
            Context {
                supplemental_groups: vec![1, -5],
                ..context()
            },
            "supplemental_groups[1]",
        ),
        (
            Context {
                supplemental_groups_policy: 2,
                ..context()
            },
            "supplemental_groups_policy",
        ),
        (
            Context {
                privileged: true,
                ..context()
            },
            "privileged",
        ),
        (
            Context {
                masked_paths: vec!["proc".into()],
                ..context()
            },
            "masked_paths[0]",
        ),
        (
            Context {
                capabilities: Some(Capability {
                    add_ambient_capabilities: vec!["KILL".into()],
                    ..Default::default()
                }),
                ..context()
            },
            "capabilities.add_ambient_capabilities",
        ),
    ] {
        let error = refused(&bad, &facts(), &HostView::default());
        assert_eq!(
            error.field,
            format!("config.linux.security_context.{field}"),
            "{error}"
        );
    }
}

#[test]
fn groups_and_policy() {
    let settings = made(Context {
        run_as_user: number(1),
        run_as_group: number(2),
        supplemental_groups: vec![10, 20],
        supplemental_groups_policy: 1,
        ..Default::default()
    });
    assert_eq!(settings.group_add, ["10", "20"]);
    let who = settings.identity.unwrap();
    assert_eq!(
        (who.uid, who.gid, who.supplemental_groups),
        (1, 2, vec![2, 10, 20])
    );
}

#[test]
fn who_cannot_be_is_blamed_on_what_has_said_it() {
    let with = |uid, name: &str| Context {
        run_as_user: uid,
        run_as_username: name.to_owned(),
        ..Default::default()
    };
    for (context, image_user, field) in [
        (with(None, ""), "www", "config.image"),
        (
            with(number(7), ""),
            "www",
            "config.linux.security_context.run_as_user",
        ),
        (
            with(number(7), "www"),
            "",
            "config.linux.security_context.run_as_username",
        ),
    ] {
        let host = HostView {
            image_user: image_user.to_owned(),
            accounts: Accounts::read("far:x:7:99999999999\n", ""),
            ..HostView::default()
        };
        let error = refused(&context, &facts(), &host);
        assert_eq!(error.field, field, "{error}");
    }
}

#[test]
fn seccomp_profiles() {
    let host = HostView {
        seccomp_profile: Some("{ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }\n".to_owned()),
        ..Default::default()
    };
    let mut old = facts();
    old.api = ApiVersion::FLOOR;
    let file = Some("seccomp={ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }\n");
    for (asked, deprecated, facts, expected) in [
        (None, "", facts(), Some("seccomp=unconfined")),
        (profile(UNCONFINED, ""), "", facts(), Some("seccomp=unconfined")),
        (profile(DEFAULT, ""), "", facts(), Some("seccomp=builtin")),
        (profile(DEFAULT, ""), "", old.clone(), None),
        (profile(LOCALHOST, "/p.json"), "", facts(), file),
        (profile(LOCALHOST, "localhost//p.json"), "", facts(), file),
        (
            profile(UNCONFINED, ""),
            "runtime/default",
            facts(),
            Some("seccomp=unconfined"),
        ),
        (None, "runtime/default", facts(), Some("seccomp=builtin")),
        (None, "docker/default", old, None),
        (None, "unconfined", facts(), Some("seccomp=unconfined")),
        (None, "localhost//p.json", facts(), file),
    ] {
        let context = Context {
            seccomp: asked,
            seccomp_profile_path: deprecated.to_owned(),
            ..Default::default()
        };
        let wanted = expected
            .is_some_and(|e| e.starts_with("seccomp={"))
            .then_some("/p.json");
        assert_eq!(localhost_seccomp(Some(&context)), wanted);
        let settings = container(Some(&context), Pod::default(), &facts, &host).unwrap();
        let option = settings.security_opt.iter().find(|o| o.starts_with("seccomp="));
        assert_eq!(option.map(String::as_str), expected);
    }
}

#[test]
fn refused_seccomp_profiles() {
    let mut none = facts();
    none.seccomp = false;
    let text = |text: &str| HostView {
        seccomp_profile: Some(text.to_owned()),
        ..Default::default()
    };
    for (asked, deprecated, facts, host, field) in [
        (
            profile(LOCALHOST, ""),
            "",
            facts(),
            text("{}"),
            "seccomp.localhost_ref",
        ),
        (
            profile(LOCALHOST, "p.json"),
            "",
            facts(),
            text("{}"),
            "seccomp.localhost_ref",
        ),
        (
            profile(LOCALHOST, "/p.json"),
            "",
            facts(),
            HostView::default(),
            "seccomp.localhost_ref",
        ),
        (
            profile(LOCALHOST, "/p.json"),
            "",
            facts(),
            text("builtin"),
            "seccomp.localhost_ref",
        ),
        (
            profile(LOCALHOST, "/p.json"),
            "",
            facts(),
            text("[]"),
            "seccomp.localhost_ref",
        ),
        (
            profile(LOCALHOST, "/p.json"),
            "",
            facts(),
            text("{} x"),
            "seccomp.localhost_ref",
        ),
        (profile(3, ""), "", facts(), text("{}"), "seccomp.profile_type"),
        (profile(DEFAULT, ""), "", none.clone(), text("{}"), "seccomp"),
        (profile(LOCALHOST, "/p.json"), "", none, text("{}"), "seccomp"),
        (None, "nonsense", facts(), text("{}"), "seccomp_profile_path"),
        (None, "localhost/", facts(), text("{}"), "seccomp_profile_path"),
    ] {
        let context = Context {
            seccomp: asked,
            seccomp_profile_path: deprecated.to_owned(),
            ..Default::default()
        };
        let error = refused(&context, &facts, &host);
        assert_eq!(
            error.field,
            format!("config.linux.security_context.{field}"),
            "{error}"
        );
    }
}

#[test]
fn privileged() {
    let context = Context {
        privileged: true,
        seccomp: profile(LOCALHOST, "/p.json"),
        masked_paths: vec!["/proc/kcore".into()],
        ..Default::default()
    };
    assert_eq!(
        localhost_seccomp(Some(&context)),
        None,
        "the profile is ignored, so it need not exist"
    );
    let pod = Pod {
        privileged: true,
        process_label: "",
    };
    let settings = container(Some(&context), pod, &facts(), &HostView::default()).unwrap();
    assert!(settings.privileged);
    assert_eq!(
        settings.security_opt,
        ["no-new-privileges=false", "seccomp=unconfined"]
    );
    assert_eq!(settings.masked_paths, None);
    assert_eq!(settings.cgroupns, CgroupnsMode::HOST);

    let mut v1 = facts();
    v1.cgroup_version = 1;
    let plain = container(None, pod, &v1, &HostView::default()).unwrap();
    assert_eq!(
        plain.cgroupns,
        CgroupnsMode::HOST,
        "cgroup v1 has no view of its own"
    );
}

fn with_apparmor() -> (EngineFacts, HostView) {
    let mut facts = facts();
    facts.apparmor = true;
    let host = HostView {
        apparmor_profiles: Some(["loaded".to_owned(), "docker-default".to_owned()].into()),
        ..Default::default()
    };
    (facts, host)
}

#[test]
fn apparmor_profiles() {
    let (facts, host) = with_apparmor();
    for (asked, deprecated, privileged, expected) in [
        (None, "", false, None),
        (None, "", true, None),
        (profile(DEFAULT, ""), "", false, None),
        (profile(DEFAULT, ""), "", true, Some("apparmor=docker-default")),
        (profile(UNCONFINED, ""), "", false, Some("apparmor=unconfined")),
        (profile(LOCALHOST, "loaded"), "", false, Some("apparmor=loaded")),
        (
            profile(LOCALHOST, "localhost/loaded"),
            "localhost/missing",
            true,
            Some("apparmor=loaded"),
        ),
        (None, "localhost/loaded", false, Some("apparmor=loaded")),
        (None, "unconfined", false, Some("apparmor=unconfined")),
        (None, "runtime/default", false, None),
    ] {
        let context = Context {
            apparmor: asked,
            apparmor_profile: deprecated.to_owned(),
            privileged,
            ..Default::default()
        };
        let pod = Pod {
            privileged: true,
            process_label: "",
        };
        let settings = container(Some(&context), pod, &facts, &host).unwrap();
        let option = settings.security_opt.iter().find(|o| o.starts_with("apparmor="));
        assert_eq!(option.map(String::as_str), expected);
        assert!(settings.caveats.is_empty());
    }
}

#[test]
fn refused_apparmor_profiles() {
    let (on, host) = with_apparmor();
    for (asked, deprecated, facts, field) in [
        (
            profile(LOCALHOST, "missing"),
            "localhost/loaded",
            on.clone(),
            "apparmor.localhost_ref",
        ),
        (
            profile(LOCALHOST, "unconfined"),
            "",
            on.clone(),
            "apparmor.localhost_ref",
        ),
        (profile(LOCALHOST, ""), "", on.clone(), "apparmor.localhost_ref"),
        (None, "localhost/missing", on.clone(), "apparmor.localhost_ref"),
        (None, "loaded", on, "apparmor_profile"),
        (profile(LOCALHOST, "loaded"), "", facts(), "apparmor"),
        (profile(DEFAULT, ""), "", facts(), "apparmor"),
    ] {
        let context = Context {
            apparmor: asked,
            apparmor_profile: deprecated.to_owned(),
            ..Default::default()
        };
        let error = refused(&context, &facts, &host);
        assert_eq!(
            error.field,
            format!("config.linux.security_context.{field}"),
            "{error}"
        );
    }
}

#[test]
fn an_unreadable_profile_list_is_said() {
    let (facts, _) = with_apparmor();
    let context = Context {
        apparmor: profile(LOCALHOST, "loaded"),
        ..Default::default()
    };
    let settings = container(Some(&context), Pod::default(), &facts, &HostView::default()).unwrap();
    assert!(settings.security_opt.contains(&"apparmor=loaded".to_owned()));
    assert_eq!(settings.caveats.len(), 1);
}

#[test]
fn selinux_labels() {
    let mut on = facts();
    on.selinux = true;
    let asked = |kind: &str, level: &str| {
        Some(SeLinuxOption {
            r#type: kind.to_owned(),
            level: level.to_owned(),
            ..Default::default()
        })
    };
    let label = "system_u:system_r:container_t:s0:c1,c2";
    let of_pod = vec![
        "label=user:system_u",
        "label=role:system_r",
        "label=type:container_t",
        "label=level:s0:c1,c2",
    ];
    let full = Some(SeLinuxOption {
        user: "system_u".into(),
        role: "system_r".into(),
        r#type: "spc_t".into(),
        level: "s0:c4".into(),
    });
    for (options, facts, expected) in [
        (None, &on, of_pod.clone()),
        (asked("", ""), &on, of_pod),
        (None, &facts(), vec![]),
        (
            asked("spc_t", ""),
            &on,
            vec!["label=type:spc_t", "label=level:s0:c1,c2"],
        ),
        (asked("", "s0:c9"), &on, vec!["label=level:s0:c9"]),
        (asked("spc_t", ""), &facts(), vec![]),
        (
            full,
            &on,
            vec![
                "label=user:system_u",
                "label=role:system_r",
                "label=type:spc_t",
                "label=level:s0:c4",
            ],
        ),
    ] {
        let context = Context {
            selinux_options: options,
            ..Default::default()
        };
        let pod = Pod {
            privileged: false,
            process_label: label,
        };
        let settings = container(Some(&context), pod, facts, &HostView::default()).unwrap();
        let labels: Vec<_> = settings
            .security_opt
            .iter()
            .filter(|o| o.starts_with("label="))
            .collect();
        assert_eq!(labels, expected);
    }
    let privileged = Context {
        selinux_options: asked("container_t", "s0:c9"),
        privileged: true,
        ..Default::default()
    };
    let pod = Pod {
        privileged: true,
        process_label: label,
    };
    let settings = container(Some(&privileged), pod, &on, &HostView::default()).unwrap();
    assert!(
        !settings.security_opt.iter().any(|o| o.starts_with("label=")),
        "{settings:?}"
    );
    let wrong = Context {
        selinux_options: asked("spc_t", "s0,c0,c5"),
        ..Default::default()
    };
    let error = refused(&wrong, &on, &HostView::default());
    assert_eq!(error.field, "config.linux.security_context.selinux_options.level");
}

#[test]
fn sandboxes_are_confined() {
    let settings = sandbox(None, &facts(), &HostView::default()).unwrap();
    assert_eq!(
        settings.security_opt,
        ["no-new-privileges=true", "seccomp=builtin"]
    );
    let context = LinuxSandboxSecurityContext {
        privileged: true,
        run_as_user: number(7),
        run_as_group: number(8),
        supplemental_groups: vec![9],
        supplemental_groups_policy: 1,
        readonly_rootfs: true,
        seccomp: profile(UNCONFINED, ""),
        ..Default::default()
    };
    let settings = sandbox(Some(&context), &facts(), &HostView::default()).unwrap();
    assert!(!settings.privileged && settings.readonly_rootfs);
    assert_eq!(settings.user.as_deref(), Some("7:8"));
    assert_eq!(settings.group_add, ["9"]);
    assert_eq!(
        settings.security_opt,
        ["no-new-privileges=true", "seccomp=unconfined"]
    );

    let group_only = LinuxSandboxSecurityContext {
        run_as_group: number(8),
        ..Default::default()
    };
    let error = sandbox(Some(&group_only), &facts(), &HostView::default()).unwrap_err();
    assert_eq!(error.field, "config.linux.security_context.run_as_group");
}

#[test]
fn sandboxes_take_what_seccomp_there_is() {
    let mut facts = facts();
    facts.seccomp = false;
    let context = |seccomp| LinuxSandboxSecurityContext {
        seccomp,
        ..Default::default()
    };
    let asked = context(profile(DEFAULT, ""));
    let settings = sandbox(Some(&asked), &facts, &HostView::default()).unwrap();
    assert_eq!(settings.security_opt, ["no-new-privileges=true"]);
    let asked = context(profile(LOCALHOST, "/p.json"));
    assert_eq!(sandbox_localhost_seccomp(Some(&asked)), Some("/p.json"));
    assert!(sandbox(Some(&asked), &facts, &HostView::default()).is_err());
    assert_eq!(sandbox_localhost_seccomp(None), None);
}

proptest! {
    #[test]
    fn never_panics(
        uid: i64, gid: i64, name in ".*", group: i64, policy in -1..3, masked in ".*",
        kind in -1..4, reference in ".*", deprecated in ".*", label in ".*", level in ".*", privileged: bool,
    ) {
        let (mut facts, mut host) = with_apparmor();
        facts.selinux = true;
        host.seccomp_profile = Some(deprecated.clone());
        let context = Context {
            run_as_user: number(uid),
            run_as_group: number(gid),
            run_as_username: name,
            supplemental_groups: vec![group],
            supplemental_groups_policy: policy,
            masked_paths: vec![masked],
            seccomp: profile(kind, &reference),
            apparmor: profile(kind, &reference),
            apparmor_profile: deprecated.clone(),
            seccomp_profile_path: deprecated,
            selinux_options: Some(SeLinuxOption { level, ..Default::default() }),
            privileged,
            ..Default::default()
        };
        let _ = localhost_seccomp(Some(&context));
        let _ = container(Some(&context), Pod { privileged, process_label: &label }, &facts, &host);
    }
}
