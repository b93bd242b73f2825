#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const D: &str = "sha256:9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf";
const HEX: &str = "9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf";

#[test]
fn names_become_canonical_and_familiar() {
    let table = [
        ("nginx", "docker.io/library/nginx", "nginx"),
        ("nginx:1.29-2", "docker.io/library/nginx:1.29-2", "nginx:1.29-2"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("a/b/c", "docker.io/a/b/c", "a/b/c"),
        ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
        (
            "docker.io/library/nginx:latest",
            "docker.io/library/nginx:latest",
            "nginx:latest",
        ),
        ("index.docker.io/nginx", "docker.io/library/nginx", "nginx"),
        ("index.docker.io/user/app:1", "docker.io/user/app:1", "user/app:1"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        (
            "localhost:5000/app:x",
            "localhost:5000/app:x",
            "localhost:5000/app:x",
        ),
        (
            "registry.k8s.io/pause:3.9",
            "registry.k8s.io/pause:3.9",
            "registry.k8s.io/pause:3.9",
        ),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
        ("[fd00::1]:5000/a", "[fd00::1]:5000/a", "[fd00::1]:5000/a"),
        ("[::1]/a", "[::1]/a", "[::1]/a"),
        // Upper case cannot be a user's name, so it is a host.
        ("Registry/app", "Registry/app", "Registry/app"),
        (
            "a__b/c--d/e.f_g:_T-1.x",
            "docker.io/a__b/c--d/e.f_g:_T-1.x",
            "a__b/c--d/e.f_g:_T-1.x",
        ),
        // Shortened, these would name another registry or an id.
        (
            "docker.io/foo.bar/x",
            "docker.io/foo.bar/x",
            "docker.io/foo.bar/x",
        ),
        (
            "docker.io/localhost/x",
            "docker.io/localhost/x",
            "docker.io/localhost/x",
        ),
        // Without a slash a port can only be a tag.
        (
            "localhost:5000",
            "docker.io/library/localhost:5000",
            "localhost:5000",
        ),
    ];
    for (input, canonical, familiar) in table {
        let parsed = ImageReference::parse(input).unwrap();
        assert_eq!(parsed.to_string(), canonical, "{input}");
        assert_eq!(parsed.familiar(), familiar, "{input}");
    }
}

#[test]
fn wrong_names_say_what_is_wrong() {
    let long_path = "a".repeat(256);
    let long_tag = format!("a:{}", "t".repeat(129));
    let short_digest = format!("a@sha256:{}", &HEX[..63]);
    let mixed_384 = format!("a@sha384:{HEX}");
    let upper_digest = format!("a@{}", D.replace("bf", "BF"));
    let two_digests = format!("a@{D}@{D}");
    let table = [
        ("", "is empty"),
        (HEX, "are an image id"),
        ("Nginx", "must be lower-case"),
        ("user/App", "must be lower-case"),
        ("a:b:c", "the tag"),
        ("a:", "the tag"),
        ("a:-b", "the tag"),
        ("a:.b", "the tag"),
        (&long_tag, "the tag"),
        ("a//b", "in the path"),
        ("/a", "in the path"),
        ("a/", "in the path"),
        ("-a", "in the path"),
        ("a-", "in the path"),
        ("a..b", "in the path"),
        ("a___b", "in the path"),
        ("a._b", "in the path"),
        ("a b", "in the path"),
        ("a\n", "in the path"),
        ("häh", "in the path"),
        ("<none>:<none>", "in the path"),
        (&long_path, "at most 255"),
        ("-x.io/a", "no registry host"),
        ("x..io/a", "no registry host"),
        ("a_b.c/x", "no registry host"),
        ("http://x.io/a", "no valid port"),
        ("x.io:/a", "no valid port"),
        ("x.io:8o/a", "no valid port"),
        ("[::1/a", "no registry host"),
        ("[]:1/a", "no registry host"),
        ("[::1]5/a", "no valid port"),
        ("a@", "must begin with sha256:"),
        (
            "a@md5:0123456789abcdef0123456789abcdef",
            "must begin with sha256:",
        ),
        (&short_digest, "must have 64"),
        (&mixed_384, "must have 96"),
        (&upper_digest, "must have 64"),
        (&two_digests, "must have 64"),
    ];
    for (input, why) in table {
        let error = ImageReference::parse(input).unwrap_err();
        assert_eq!(error.field, "image.image");
        assert!(error.why.contains(why), "{input:?}: {error}");
    }
}

#[test]
fn lengths_count_the_path_alone() {
    assert!(ImageReference::parse(&format!("registry.example.com/{}", "a".repeat(255))).is_ok());
    // `library/` takes eight of them.
    assert!(ImageReference::parse(&"a".repeat(247)).is_ok());
    assert!(ImageReference::parse(&"a".repeat(248)).is_err());
    assert!(ImageReference::parse(&format!("a:{}", "t".repeat(128))).is_ok());
    let flood = ImageReference::parse(&"Ä".repeat(100_000)).unwrap_err();
    assert!(flood.why.len() < 4000, "{}", flood.why.len());
}

#[test]
fn pulls_name_one_image() {
    let table = [
        (
            "nginx".to_owned(),
            "docker.io/library/nginx",
            "latest",
            "docker.io/library/nginx:latest".to_owned(),
        ),
        ("x.io/a:1".to_owned(), "x.io/a", "1", "x.io/a:1".to_owned()),
        (format!("x.io/a@{D}"), "x.io/a", D, format!("x.io/a@{D}")),
        (format!("x.io/a:1@{D}"), "x.io/a", D, format!("x.io/a@{D}")),
    ];
    for (input, from_image, tag, inspect) in table {
        let parsed = ImageReference::parse(&input).unwrap();
        let target = PullTarget {
            from_image: from_image.to_owned(),
            tag: tag.to_owned(),
        };
        assert_eq!(parsed.pull_target(), target, "{input}");
        assert_eq!(parsed.inspect_name(), inspect, "{input}");
    }
}

#[test]
fn parts_are_kept() {
    let parsed = ImageReference::parse(&format!("localhost:5000/a/b:1@{D}")).unwrap();
    let parts = (parsed.domain(), parsed.path(), parsed.tag(), parsed.digest());
    assert_eq!(parts, ("localhost:5000", "a/b", Some("1"), Some(D)));
}

#[test]
fn ids_are_told_from_names() {
    let name = |text: &str| ImageReference::parse(text).unwrap();
    let table = [
        (D, ImageQuery::Id(D.to_owned()), D),
        (HEX, ImageQuery::Id(D.to_owned()), D),
        (
            "cafe",
            ImageQuery::NameOrId {
                name: name("cafe"),
                prefix: "sha256:cafe".to_owned(),
            },
            "cafe",
        ),
        (
            "sha256:cafe",
            ImageQuery::NameOrId {
                name: name("sha256:cafe"),
                prefix: "sha256:cafe".to_owned(),
            },
            "sha256:cafe",
        ),
        (
            "coffee",
            ImageQuery::Name(name("coffee")),
            "docker.io/library/coffee:latest",
        ),
        (
            "cafe:1",
            ImageQuery::Name(name("cafe:1")),
            "docker.io/library/cafe:1",
        ),
        // More digits than an id has.
        (
            "0000000000000000000000000000000000000000000000000000000000000000a",
            ImageQuery::Name(name(
                "0000000000000000000000000000000000000000000000000000000000000000a",
            )),
            "docker.io/library/0000000000000000000000000000000000000000000000000000000000000000a:latest",
        ),
    ];
    for (input, query, engine_name) in table {
        let parsed = ImageQuery::parse(input).unwrap();
        assert_eq!(parsed, query, "{input}");
        assert_eq!(parsed.engine_name(), engine_name, "{input}");
    }
    for input in ["", "UPPER", "sha256:"] {
        assert_eq!(
            ImageQuery::parse(input).unwrap_err().field,
            "image.image",
            "{input}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text in "\\PC*") {
        let _ = ImageReference::parse(&text);
        let _ = ImageQuery::parse(&text);
    }

    #[test]
    fn nearly_names_are_judged_without_a_panic(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,90}") {
        if let Ok(parsed) = ImageReference::parse(&text) {
            prop_assert_eq!(&ImageReference::parse(&parsed.to_string()).unwrap(), &parsed);
        }
        let _ = ImageQuery::parse(&text);
    }

    #[test]
    fn every_form_reads_back(
        domain in "|localhost/|[a-z0-9]{1,6}(\\.[a-z0-9]{1,3}){1,2}(:[0-9]{1,5})?/",
        // No dot in the first part, which would make a registry of it.
        path in "[a-z0-9]{1,5}((_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,5}([._][a-z0-9]{1,3})?){0,3}",
        tag in proptest::option::of("[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}"),
        digest in proptest::option::of("sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}"),
    ) {
        let mut text = format!("{domain}{path}");
        if let Some(tag) = &tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = &digest {
            text = format!("{text}@{digest}");
        }
        let parsed = ImageReference::parse(&text).unwrap();
        prop_assert_eq!(parsed.tag(), tag.as_deref());
        prop_assert_eq!(parsed.digest(), digest.as_deref());
        for form in [parsed.to_string(), parsed.familiar()] {
            prop_assert_eq!(&ImageReference::parse(&form).unwrap(), &parsed, "{}", form);
        }
        let inspected = ImageReference::parse(&parsed.inspect_name()).unwrap();
        prop_assert!(inspected.same_repository(&parsed) && inspected.same_image(&parsed));
    }
}
