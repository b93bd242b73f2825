#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const HASH: &str = "c53f131ac37289e6cc1bca07d18667954317381b3d70da0f78dfebc825180f83";
const ID: &str = "sha256:c53f131ac37289e6cc1bca07d18667954317381b3d70da0f78dfebc825180f83";
const OTHER: &str = "sha256:c53f131ac37200000000000000000000000000000000000000000000000000ff";
const DIGEST: &str = "sha256:9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf";

fn inspect(tags: &[&str], digests: &[&str], user: &str) -> ImageInspect {
    let answer = json!({
        "Id": ID,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Size": 15_569_217,
        "Created": "2026-11-21T22:02:59.910230038Z",
        "Architecture": "amd64",
        "Os": "linux",
        "RootFS": {"Type": "layers", "Layers": ["sha256:4151"]},
        "Config": {
            "Cmd": ["/bin/sh"],
            "Entrypoint": null,
            "Env": ["PATH=/bin"],
            "ExposedPorts": {"80/tcp": {}},
            "Labels": {"maintainer": "x"},
            "OnBuild": null,
            "User": user,
            "Volumes": {"/data": {}},
            "WorkingDir": "",
        },
    });
    serde_json::from_value(answer).unwrap()
}

fn image(id: &str, tags: &[&str], digests: &[&str]) -> cri::Image {
    let answer = ImageInspect {
        id: id.to_owned(),
        ..inspect(tags, digests, "")
    };
    image_from_inspect(&answer, &[])
}

fn query(text: &str) -> ImageQuery {
    ImageQuery::parse(text).unwrap()
}

#[test]
fn an_image_is_one_message_from_list_and_inspect() {
    let digest = format!("x.io/a@{DIGEST}");
    let answer = inspect(&["x.io/a:2", "x.io/a:1"], &[&digest], "1002:50");
    let entry: ImageEntry = serde_json::from_value(json!({
        "Id": ID,
        "RepoTags": ["x.io/a:1", "x.io/a:2"],
        "RepoDigests": [digest],
        "Size": 15_569_217,
        "Labels": null,
        "Containers": -1,
    }))
    .unwrap();
    let expected = cri::Image {
        id: ID.into(),
        repo_tags: vec!["x.io/a:1".into(), "x.io/a:2".into()],
        repo_digests: vec![digest],
        size: 15_569_217,
        uid: Some(cri::Int64Value { value: 1002 }),
        username: String::new(),
        spec: Some(cri::ImageSpec {
            image: ID.into(),
            ..Default::default()
        }),
        pinned: false,
    };
    assert_eq!(image_from_inspect(&answer, &[]), expected);
    assert_eq!(image_from_entry(&entry, Some("1002:50"), &[]), expected);
    assert_eq!(image_from_entry(&entry, None, &[]).uid, None);
}

#[test]
fn names_that_are_none_are_left_out() {
    let digest = format!("x.io/a@{DIGEST}");
    let table: [(&[&str], &[&str], usize, usize); 4] = [
        (&["<none>:<none>"], &["<none>@<none>"], 0, 0),
        (&["x.io/a:<none>"], &[&digest], 0, 1),
        (&[&digest], &[&digest], 0, 1),
        (&["x.io/a:1"], &[], 1, 0),
    ];
    for (tags, digests, tag_count, digest_count) in table {
        let image = image(ID, tags, digests);
        assert_eq!(
            (image.repo_tags.len(), image.repo_digests.len()),
            (tag_count, digest_count),
            "{tags:?}"
        );
    }
}

#[test]
fn sizes_are_above_zero() {
    for (size, expected) in [(0, 1), (-1, 1), (7, 7), (i64::MAX, i64::MAX as u64)] {
        let answer = ImageInspect {
            size,
            ..inspect(&[], &[], "")
        };
        assert_eq!(image_from_inspect(&answer, &[]).size, expected);
    }
}

#[test]
fn users_are_numbers_or_names() {
    let table = [
        ("", None, ""),
        ("root", None, ""),
        ("root:wheel", None, ""),
        (":50", None, ""),
        ("0", Some(0), ""),
        ("1002", Some(1002), ""),
        ("1003:3001", Some(1003), ""),
        ("www-data", None, "www-data"),
        ("www-data:100", None, "www-data"),
        ("+5", None, "+5"),
        ("99999999999999999999", None, "99999999999999999999"),
    ];
    for (user, uid, username) in table {
        let image = image_from_inspect(&inspect(&[], &[], user), &[]);
        let told = (image.uid.map(|uid| uid.value), image.username.as_str());
        assert_eq!(told, (uid, username), "{user}");
    }
}

#[test]
fn the_sandbox_image_is_pinned_by_any_spelling() {
    let digest = format!("busybox@{DIGEST}");
    let answer = inspect(&["busybox:latest", "registry.k8s.io/pause:3.10"], &[&digest], "");
    let by_digest = format!("docker.io/library/busybox@{DIGEST}");
    let by_both = format!("busybox:9@{DIGEST}");
    let other_digest = by_both.replace("bf", "be");
    let table = [
        ("registry.k8s.io/pause:3.10", true),
        ("registry.k8s.io/pause:3.9", false),
        ("registry.k8s.io/pause", false),
        ("busybox", true),
        ("index.docker.io/library/busybox:latest", true),
        (&by_digest, true),
        (&by_both, true),
        (&other_digest, false),
        (ID, true),
        (HASH, true),
        (OTHER, false),
    ];
    for (name, expected) in table {
        let pinned = pinned_images([name]).unwrap();
        assert_eq!(image_from_inspect(&answer, &pinned).pinned, expected, "{name}");
    }
    assert_eq!(pinned_images(["ok", "NOT"]).unwrap_err().field, "image.image");
}

#[test]
fn one_image_is_found_by_name_before_id() {
    let images = [
        image(ID, &["x.io/a:1"], &[&format!("x.io/a@{DIGEST}")]),
        image(OTHER, &["c53f131ac3:latest"], &[]),
    ];
    let table = [
        ("x.io/a:1", Some(ID)),
        (&format!("x.io/a@{DIGEST}"), Some(ID)),
        (&format!("x.io/a:7@{DIGEST}"), Some(ID)),
        (&format!("x.io/b@{DIGEST}"), None),
        ("x.io/a", None),
        (ID, Some(ID)),
        (HASH, Some(ID)),
        ("c53f131ac37289", Some(ID)),
        ("sha256:c53f131ac37289", Some(ID)),
        ("c53f131ac3720", Some(OTHER)),
        // Two ids begin so.
        ("c53f131ac37", None),
        // Two ids begin so, but one image is called so.
        ("c53f131ac3", Some(OTHER)),
        ("cafe", None),
    ];
    for (text, expected) in table {
        assert_eq!(
            find(&images, &query(text)).map(|image| image.id.as_str()),
            expected,
            "{text}"
        );
    }
}

#[test]
fn lists_are_filtered_by_repository_name_or_id() {
    let digest = format!("nginx@{DIGEST}");
    let image = image(ID, &["nginx:1.29", "x.io/a:1"], &[&digest]);
    let table = [
        ("nginx", true),
        ("docker.io/library/nginx", true),
        ("nginx:1.29", true),
        ("nginx:latest", false),
        (&digest, true),
        ("x.io/a", true),
        ("y.io/a", false),
        (ID, true),
        ("c53f131ac", true),
        ("deadbeef", false),
        (OTHER, false),
    ];
    for (text, expected) in table {
        assert_eq!(matches(&image, &query(text)), expected, "{text}");
    }
}

#[test]
fn filters_may_be_absent_at_every_level() {
    let with = |text: &str| cri::ImageFilter {
        image: Some(cri::ImageSpec {
            image: text.into(),
            ..Default::default()
        }),
    };
    assert_eq!(filter(None), Ok(None));
    assert_eq!(filter(Some(&cri::ImageFilter { image: None })), Ok(None));
    assert_eq!(filter(Some(&with(""))), Ok(None));
    assert_eq!(filter(Some(&with("nginx"))), Ok(Some(query("nginx"))));
    assert_eq!(
        filter(Some(&with("NGINX"))).unwrap_err().field,
        "filter.image.image"
    );
}

#[test]
fn removal_goes_from_names_to_the_id() {
    let digest = format!("x.io/a@{DIGEST}");
    let named = inspect(&["x.io/a:1", "y.io/a:1"], &[&digest], "");
    assert_eq!(removal(&named), ["x.io/a:1", "y.io/a:1", &digest, ID]);
    let dangling = inspect(&["<none>:<none>"], &["<none>@<none>"], "");
    assert_eq!(removal(&dangling), [ID]);
}

#[test]
fn verbose_info_is_the_images_configuration() {
    let info = verbose_info(&inspect(&["x.io/a:1"], &[], "www-data"));
    assert_eq!(info.keys().collect::<Vec<_>>(), ["info"]);
    let told: Value = serde_json::from_str(&info["info"]).unwrap();
    let expected = json!({"imageSpec": {
        "created": "2026-11-21T22:02:59.910230038Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": "www-data",
            "ExposedPorts": {"80/tcp": {}},
            "Env": ["PATH=/bin"],
            "Cmd": ["/bin/sh"],
            "Volumes": {"/data": {}},
            "Labels": {"maintainer": "x"},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:4151"]},
    }});
    assert_eq!(told, expected);
    // An image of another kind has no configuration at all.
    let bare: ImageInspect =
        serde_json::from_str(r#"{"Id":"sha256:1","Config":null,"RootFS":null}"#).unwrap();
    assert!(verbose_info(&bare).contains_key("info"));
}
