#![allow(clippy::unwrap_used, clippy::expect_used)]

use MountPropagation::{
    PropagationBidirectional as Shared, PropagationHostToContainer as Slave, PropagationPrivate as Private,
};
use cri::{IdMapping, ImageSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{facts::RuntimeFacts, security::tests::facts};

fn mount(host: &str, container: &str) -> cri::Mount {
    cri::Mount {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        ..Default::default()
    }
}

fn recursive(propagation: MountPropagation, readonly: bool) -> cri::Mount {
    cri::Mount {
        readonly,
        recursive_read_only: true,
        propagation: propagation.into(),
        ..mount("/h", "/c")
    }
}

fn able() -> EngineFacts {
    let mut facts = facts();
    let features = Some(json!({"mountOptions": ["bind", "rro"]}));
    facts
        .runtimes
        .insert("runc".to_owned(), RuntimeFacts { features });
    facts
}

/// What goes over the wire for one mount.
fn wire(mount: cri::Mount, facts: &EngineFacts) -> Value {
    let mut out = container(&[mount], facts, &HostView::default(), "").unwrap();
    assert!(out.caveats.is_empty());
    serde_json::to_value(out.mounts.remove(0)).unwrap()
}

#[test]
fn binds_say_everything() {
    let mut old = facts();
    old.api = ApiVersion::FLOOR;
    let read_only = cri::Mount {
        readonly: true,
        ..mount("/h", "/c")
    };
    let expected = |read_only: bool, options: Value| json!({"Type": "bind", "Source": "/h", "Target": "/c", "ReadOnly": read_only, "BindOptions": options});
    assert_eq!(
        wire(mount("/h", "/c"), &facts()),
        expected(false, json!({"Propagation": "rprivate"}))
    );
    assert_eq!(
        wire(read_only.clone(), &facts()),
        expected(
            true,
            json!({"Propagation": "rprivate", "ReadOnlyNonRecursive": true})
        )
    );
    assert_eq!(
        wire(read_only, &old),
        expected(true, json!({"Propagation": "rprivate"}))
    );
    assert_eq!(
        wire(recursive(Private, true), &able()),
        expected(
            true,
            json!({"Propagation": "rprivate", "ReadOnlyForceRecursive": true})
        )
    );
}

/// The kubelet sets it for each volume's subPath, though only an image volume has a use for it.
#[test]
fn a_sub_path_of_an_image_means_nothing_to_a_bind() {
    let with_sub_path = cri::Mount {
        image_sub_path: "below/file".into(),
        ..mount("/h", "/c")
    };
    assert_eq!(wire(with_sub_path, &facts()), wire(mount("/h", "/c"), &facts()));
}

#[test]
fn propagation_is_exact() {
    for (propagation, word) in [(Private, "rprivate"), (Slave, "rslave"), (Shared, "rshared")] {
        let asked = cri::Mount {
            propagation: propagation.into(),
            ..mount("/h", "/c")
        };
        assert_eq!(wire(asked, &facts())["BindOptions"]["Propagation"], word);
    }
}

#[test]
fn the_engine_chooses_around_its_own_data() {
    let mut facts = able();
    facts.root_dir = "/var/lib/docker".to_owned();
    for (source, left_out) in [
        ("/", true),
        ("/var/lib", true),
        ("/var/lib/", true),
        ("/var//lib/docker/containers", true),
        ("/var/lib/docker", true),
        ("/var/lib/kubelet/pods", false),
        ("/etc", false),
    ] {
        let out = container(&[mount(source, "/c")], &facts, &HostView::default(), "").unwrap();
        let propagation = out.mounts[0].bind_options.as_ref().unwrap().propagation;
        assert_eq!(propagation.is_none(), left_out, "{source}");
        assert_eq!(out.caveats.len(), usize::from(left_out), "{source}");
        let slave = cri::Mount {
            propagation: Slave.into(),
            ..mount(source, "/c")
        };
        let out = container(&[slave], &facts, &HostView::default(), "").unwrap();
        let propagation = out.mounts[0].bind_options.as_ref().unwrap().propagation;
        assert_eq!(propagation, Some(MountBindOptionsPropagationEnum::RSLAVE));
        let full = cri::Mount {
            host_path: source.to_owned(),
            ..recursive(Private, true)
        };
        assert_eq!(
            container(&[full], &facts, &HostView::default(), "").is_err(),
            left_out,
            "{source}"
        );
    }
}

#[test]
fn order_is_kept() {
    let mounts = [mount("/b", "/z"), mount("/a", "/y"), mount("/b", "/y/x")];
    let out = container(&mounts, &facts(), &HostView::default(), "").unwrap();
    let targets: Vec<_> = out.mounts.iter().map(|m| m.target.as_deref().unwrap()).collect();
    assert_eq!(targets, ["/z", "/y", "/y/x"]);
    assert_eq!(sources(&mounts).collect::<Vec<_>>(), ["/b", "/a", "/b"]);
}

#[test]
fn recursive_read_only_needs_all_three() {
    assert!(recursive_read_only(&able(), "") && recursive_read_only(&able(), "runc"));
    for change in [
        (|f: &mut EngineFacts| f.api = ApiVersion::V1_42) as fn(&mut EngineFacts),
        |f| f.kernel = "5.11.99".to_owned(),
        |f| f.kernel = "4.19.0-x".to_owned(),
        |f| f.kernel = "strange".to_owned(),
        |f| f.runtimes.clear(),
        |f| f.default_runtime = "other".to_owned(),
        |f| {
            let features = Some(json!({"mountOptions": "rro"}));
            f.runtimes.insert("runc".to_owned(), RuntimeFacts { features });
        },
    ] {
        let mut facts = able();
        change(&mut facts);
        assert!(!recursive_read_only(&facts, ""));
        let error = container(&[recursive(Private, true)], &facts, &HostView::default(), "").unwrap_err();
        assert_eq!(error.field, "config.mounts[0].recursive_read_only");
        assert!(error.why.starts_with(RRO_UNSUPPORTED), "{error}");
    }
}

#[test]
fn refuses() {
    let good = mount("/h", "/c");
    for (bad, field) in [
        (mount("/h", ""), "container_path"),
        (mount("/h", "c"), "container_path"),
        (mount("/h", "/"), "container_path"),
        (mount("/h", "/x/.."), "container_path"),
        (mount("/h", "/c"), "container_path"),
        (mount("/h", "/x/../c/"), "container_path"),
        (mount("", "/x"), "host_path"),
        (mount("h", "/x"), "host_path"),
        (
            cri::Mount {
                propagation: 3,
                ..mount("/h", "/x")
            },
            "propagation",
        ),
        (
            cri::Mount {
                mount_options: vec!["noexec".into()],
                ..mount("/h", "/x")
            },
            "mount_options",
        ),
        (
            cri::Mount {
                uid_mappings: vec![IdMapping::default()],
                ..mount("/h", "/x")
            },
            "uidMappings",
        ),
        (
            cri::Mount {
                gid_mappings: vec![IdMapping::default()],
                ..mount("/h", "/x")
            },
            "gidMappings",
        ),
        (
            cri::Mount {
                container_path: "/x".into(),
                ..recursive(Private, false)
            },
            "recursive_read_only",
        ),
        (
            cri::Mount {
                container_path: "/x".into(),
                ..recursive(Slave, true)
            },
            "recursive_read_only",
        ),
        (
            cri::Mount {
                container_path: "/x".into(),
                ..recursive(Shared, true)
            },
            "recursive_read_only",
        ),
    ] {
        let error = container(&[good.clone(), bad], &able(), &HostView::default(), "").unwrap_err();
        assert_eq!(error.field, format!("config.mounts[1].{field}"), "{error}");
        assert!(
            !error.why.starts_with(RRO_UNSUPPORTED),
            "a conflict is not a lack of support: {error}"
        );
    }
}

fn volume(change: impl FnOnce(&mut cri::Mount)) -> cri::Mount {
    let mut mount = cri::Mount {
        container_path: "/c".into(),
        readonly: true,
        image: Some(ImageSpec {
            image: "data:1".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    change(&mut mount);
    mount
}

fn with_image() -> HostView {
    HostView {
        volume_images: [("data:1".to_owned(), "sha256:1".to_owned())].into(),
        ..Default::default()
    }
}

#[test]
fn images_are_mounted_by_their_id() {
    let mut new = facts();
    new.api = ApiVersion::V1_48;
    let asked = volume(|mount| mount.image_sub_path = "etc/app".into());
    assert_eq!(
        sources(std::slice::from_ref(&asked)).count(),
        0,
        "an image is no path to create"
    );
    let out = container(&[asked], &new, &with_image(), "").unwrap();
    assert_eq!(
        serde_json::to_value(&out.mounts).unwrap(),
        json!([{"Type": "image", "Source": "sha256:1", "Target": "/c", "ReadOnly": true, "ImageOptions": {"Subpath": "etc/app"}}])
    );
}

/// The Engine refuses two mounts of one name.
#[test]
fn mounts_of_one_image_have_different_names() {
    let mut new = facts();
    new.api = ApiVersion::V1_48;
    let digits = "0123456789abcdef".repeat(4);
    let host = HostView {
        volume_images: [("data:1".to_owned(), format!("sha256:{digits}"))].into(),
        ..Default::default()
    };
    let asked: Vec<_> = (0..50)
        .map(|index| volume(|mount| mount.container_path = format!("/{index}")))
        .collect();
    let out = container(&asked, &new, &host, "").unwrap();
    let names: BTreeSet<_> = out.mounts.iter().map(|mount| mount.source.as_deref()).collect();
    assert_eq!(names.len(), asked.len());
    for name in names {
        let name = name.unwrap();
        assert!(
            digits.starts_with(name.trim_start_matches("sha256:")) && name.len() >= 12,
            "{name}"
        );
    }
}

#[test]
fn image_volumes_are_refused_by_their_constant() {
    let mut new = facts();
    new.api = ApiVersion::V1_48;
    let mut old = facts();
    old.api = ApiVersion::new(1, 47);
    type Change = fn(&mut cri::Mount);
    let cases: [(Change, &EngineFacts, HostView, &str); 8] = [
        (|_| (), &old, with_image(), "image"),
        (|_| (), &new, HostView::default(), "image"),
        (|mount| mount.readonly = false, &new, with_image(), "readonly"),
        (
            |mount| mount.host_path = "/h".into(),
            &new,
            with_image(),
            "host_path",
        ),
        (
            |mount| mount.propagation = Slave.into(),
            &new,
            with_image(),
            "propagation",
        ),
        (
            |mount| mount.image_sub_path = "../etc".into(),
            &new,
            with_image(),
            "image_sub_path",
        ),
        (
            |mount| mount.image_sub_path = "a/../../b".into(),
            &new,
            with_image(),
            "image_sub_path",
        ),
        (
            |mount| mount.image_sub_path = "/etc".into(),
            &new,
            with_image(),
            "image_sub_path",
        ),
    ];
    for (change, facts, host, field) in cases {
        let error = container(&[volume(change)], facts, &host, "").unwrap_err();
        assert_eq!(error.field, format!("config.mounts[0].{field}"));
        assert!(error.why.starts_with(IMAGE_VOLUME_MOUNT_FAILED), "{error}");
    }
    let nothing = volume(|mount| mount.image = Some(ImageSpec::default()));
    let error = container(&[nothing], &new, &with_image(), "").unwrap_err();
    assert_eq!(error.field, "config.mounts[0].host_path", "no image and no path");
}

#[test]
fn relabelling_loses_nothing_else_of_a_mount() {
    let asked = |change: fn(&mut cri::Mount)| {
        let mut mount = cri::Mount {
            selinux_relabel: true,
            ..mount("/a:b", "/c:d")
        };
        change(&mut mount);
        mount
    };
    let image = asked(|mount| {
        mount.image = Some(ImageSpec {
            image: "data".to_owned(),
            ..Default::default()
        });
    });
    let mounts = [asked(|_| ()), asked(|mount| mount.readonly = true), image];
    assert_eq!(relabelled(&mounts).collect::<Vec<_>>(), ["/a:b", "/a:b"]);
    for mount in &mounts[..2] {
        let mut plain = mount.clone();
        plain.selinux_relabel = false;
        for selinux in [false, true] {
            let facts = EngineFacts { selinux, ..able() };
            let made = |mount: &cri::Mount| {
                container(std::slice::from_ref(mount), &facts, &HostView::default(), "").unwrap()
            };
            assert_eq!(made(mount), made(&plain));
        }
    }
}

proptest! {
    #[test]
    fn never_panics(
        host_path in ".*", container_path in ".*", selinux_relabel: bool, readonly: bool,
        recursive_read_only: bool, propagation in -1..4, kernel in ".*", selinux: bool,
    ) {
        let asked = cri::Mount {
            host_path, container_path, selinux_relabel, readonly, recursive_read_only, propagation,
            ..Default::default()
        };
        let _ = container(&[asked], &EngineFacts { kernel, selinux, ..able() }, &HostView::default(), "");
    }
}
