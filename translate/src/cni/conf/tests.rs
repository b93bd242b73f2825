#![allow(clippy::unwrap_used)]

use super::*;

const LIST: &str = r#"{
  "cniVersion": "0.4.0", "name": "pods", "disableGC": "TRUE", "unknown": 1.50,
  "plugins": [
    {"type": "bridge", "mtu": 1e3, "capabilities": {"ips": true, "mac": false}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}"#;

fn list(text: &str) -> Result<Network, ConfError> {
    parse_list("10-x.conflist", text)?.complete("10-x.conflist", [])
}

#[test]
fn a_list_is_read_and_kept_as_it_is() {
    let network = list(LIST).unwrap();
    assert_eq!(network.name, "pods");
    assert_eq!(network.version, Version::V0_4_0);
    assert!(network.disable_gc);
    assert_eq!(network.plugins[0].kind, "bridge");
    assert_eq!(
        network.plugins[0].capabilities,
        BTreeSet::from(["ips".to_owned()])
    );
    assert_eq!(network.plugins[0].fields["mtu"].get(), "1e3");
    assert_eq!(
        network.plugins[1].capabilities,
        BTreeSet::from(["portMappings".to_owned()])
    );
    assert_eq!(network.document, LIST);
}

#[test]
fn files_are_told_apart_by_their_ending() {
    for (name, kind) in [
        ("10-a.conflist", Some(FileKind::List)),
        ("a.conf", Some(FileKind::Single)),
        ("a.json", Some(FileKind::Single)),
        ("a.conf.bak", None),
        ("a.conflist.tmp", None),
        ("conf", None),
    ] {
        assert_eq!(FileKind::of(name), kind, "{name}");
    }
}

#[test]
fn a_single_plugin_becomes_a_list() {
    let network = parse_single(
        "a.conf",
        r#"{"name":"n","type":"ptp","cniVersion":"0.2.0","x":[1 ,2]}"#,
    )
    .unwrap();
    assert_eq!(network.version, Version::V0_2_0);
    assert_eq!(
        network.document,
        concat!(
            r#"{"cniVersion":"0.2.0","name":"n","plugins":["#,
            r#"{"cniVersion":"0.2.0","name":"n","type":"ptp","x":[1 ,2]}]}"#
        )
    );
    let again = parse_cached("cache", &network.document).unwrap();
    assert_eq!((again.name.as_str(), again.plugins.len()), ("n", 1));
}

#[test]
fn plugins_of_the_folder_are_appended_and_recorded() {
    let text = r#"{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"a"}]}"#;
    let read = parse_list("n.conflist", text).unwrap();
    assert!(read.wants_folder());
    assert_eq!(read.name(), "n");
    let network = read
        .complete(
            "n.conflist",
            [
                ("20.conf", r#"{"type":"c"}"#),
                ("10.conf", r#"{"type":"b","k":1.0}"#),
            ],
        )
        .unwrap();
    let kinds = |network: &Network| network.plugins.iter().map(|p| p.kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&network), ["a", "b", "c"]);
    // What is cached can be undone without the folder.
    let cached = parse_list("cache", &network.document).unwrap();
    assert!(!cached.wants_folder());
    assert_eq!(kinds(&cached.complete("cache", []).unwrap()), ["a", "b", "c"]);

    let inlined = r#"{"name":"n","loadOnlyInlinedPlugins":true,"plugins":[{"type":"a"}]}"#;
    let network = parse_list("n", inlined)
        .unwrap()
        .complete("n", [("1", r#"{"type":"b"}"#)])
        .unwrap();
    assert_eq!(kinds(&network), ["a"]);
    let folder_only = parse_list("n", r#"{"name":"n"}"#).unwrap();
    assert_eq!(
        kinds(&folder_only.complete("n", [("1", r#"{"type":"b"}"#)]).unwrap()),
        ["b"]
    );
    assert_eq!(
        parse_list("n.conflist", text)
            .unwrap()
            .complete("n.conflist", [("5.conf", "{}")])
            .unwrap_err()
            .to_string(),
        "5.conf: type: is missing"
    );
}

#[test]
fn the_newest_known_version_is_chosen() {
    let version = |versions: &str| {
        list(&format!(r#"{{"name":"n",{versions}"plugins":[{{"type":"a"}}]}}"#))
            .map(|network| network.version.to_string())
            .map_err(|error| error.to_string())
    };
    for (fields, expected) in [
        ("", "0.1.0"),
        (r#""cniVersion":"1.0.0","#, "1.0.0"),
        (r#""cniVersions":["0.3.1","1.1.0","0.4.0"],"#, "1.1.0"),
        (
            r#""cniVersion":"1.0.0","cniVersions":["0.4.0","9.9.9"],"#,
            "1.0.0",
        ),
        (r#""cniVersion":"2.0.0","cniVersions":["0.4.0"],"#, "0.4.0"),
    ] {
        assert_eq!(version(fields).as_deref(), Ok(expected), "{fields}");
    }
    for (fields, expected) in [
        (
            r#""cniVersion":"1.2.0","#,
            "10-x.conflist: cniVersion: \"1.2.0\" is not a version of CNI known here",
        ),
        (
            r#""cniVersion":"x","#,
            "10-x.conflist: cniVersion: \"x\" is not a version number",
        ),
        (
            r#""cniVersion":1,"#,
            "10-x.conflist: cniVersion: is 1, not a string",
        ),
        (
            r#""cniVersions":["1.0.0","x"],"#,
            "10-x.conflist: cniVersions[1]: \"x\" is not a version number",
        ),
        (
            r#""cniVersions":["3.0.0"],"#,
            "10-x.conflist: cniVersions: offers no version up to 1.1.0",
        ),
        (
            r#""cniVersions":"1.0.0","#,
            "10-x.conflist: cniVersions: is \"1.0.0\", not a list of strings",
        ),
    ] {
        let error = version(fields).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn errors_name_file_and_field() {
    for (text, expected) in [
        ("", "10-x.conflist: is not a JSON object: "),
        ("[]", "10-x.conflist: is not a JSON object: "),
        (r#"{"plugins":[{"type":"a"}]}"#, "10-x.conflist: name: is missing"),
        (
            r#"{"name":"../x","plugins":[]}"#,
            "10-x.conflist: name: \"../x\" is not letters",
        ),
        (
            r#"{"name":"n","plugins":[]}"#,
            "10-x.conflist: plugins: is an empty list",
        ),
        (
            r#"{"name":"n","plugins":7}"#,
            "10-x.conflist: plugins: is 7, not a list of objects",
        ),
        (r#"{"name":"n"}"#, "10-x.conflist: plugins: names no plugin"),
        (
            r#"{"name":"n","loadOnlyInlinedPlugins":true}"#,
            "10-x.conflist: plugins: is missing, and",
        ),
        (
            r#"{"name":"n","plugins":[{"type":"a"},{}]}"#,
            "10-x.conflist: plugins[1].type: is missing",
        ),
        (
            r#"{"name":"n","plugins":[{"type":"../a"}]}"#,
            "10-x.conflist: plugins[0].type: \"../a\" is not the name",
        ),
        (
            r#"{"name":"n","plugins":[{"type":"a","capabilities":[1]}]}"#,
            "10-x.conflist: plugins[0].capabilities: is [1], not an object of true and false",
        ),
        (
            r#"{"name":"n","disableGC":"maybe","plugins":[{"type":"a"}]}"#,
            "10-x.conflist: disableGC: is \"maybe\", not true or false",
        ),
    ] {
        let error = list(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    assert_eq!(
        parse_single("a.conf", r#"{"name":"n","plugins":[]}"#)
            .unwrap_err()
            .to_string(),
        "a.conf: type: is missing; a list of plugins belongs in a .conflist file"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = list(&text);
        let _ = parse_single("a", &text);
        let _ = parse_cached("a", &text);
    }

    #[test]
    fn no_value_of_a_field_makes_it_panic(
        name in "\"[a-z/.]{0,3}\"|[0-9]|null|\\[\\]",
        version in "\"[0-9.]{0,7}\"|[0-9]|null|\\[\"1\\.0\"\\]",
        plugins in "\\[\\{\"type\":(\"[a-z/]{0,2}\"|1)\\}\\]|[0-9]|null|\\[\\]|\\{\\}",
    ) {
        let text = format!(
            r#"{{"name":{name},"cniVersion":{version},"cniVersions":{version},"type":"a","plugins":{plugins}}}"#
        );
        let _ = list(&text);
        let _ = parse_single("a", &text);
        let _ = parse_cached("a", &text);
    }
}
