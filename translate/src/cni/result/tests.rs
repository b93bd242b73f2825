#![allow(clippy::unwrap_used)]

use super::*;

fn ips(output: &str) -> Result<Vec<String>, String> {
    parse(output, Version::V1_0_0, "eth0")
        .map(|success| success.addresses.iter().map(ToString::to_string).collect())
        .map_err(|error| error.to_string())
}

#[test]
fn the_pods_own_addresses_come_in_order() {
    let interfaces =
        r#""interfaces":[{"name":"cni0"},{"name":"eth0","sandbox":"/n"},{"name":"net1","sandbox":"/n"}]"#;
    for (output, expected) in [
        // 0.2.0
        (
            r#"{"cniVersion":"0.2.0","ip6":{"ip":"fd00::2/64"},"ip4":{"ip":"10.0.0.2/24"}}"#.to_owned(),
            vec!["10.0.0.2", "fd00::2"],
        ),
        (
            r#"{"ip4":{"ip":"10.0.0.2/24"},"ip6":null,"dns":{}}"#.to_owned(),
            vec!["10.0.0.2"],
        ),
        // 0.3.1
        (
            r#"{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.0.0.3/16","gateway":"10.0.0.1"}]}"#
                .to_owned(),
            vec!["10.0.0.3"],
        ),
        // 1.0.0: others' addresses do not count
        (
            format!(
                r#"{{"cniVersion":"1.0.0",{interfaces},"ips":[{{"address":"1.1.1.1/8","interface":0}},
                {{"address":"2.2.2.2/8","interface":2}},{{"address":"fd00::9/64","interface":1}},
                {{"address":"10.0.0.9/24","interface":1}},{{"address":"10.0.0.9/24","interface":1}}]}}"#
            ),
            vec!["fd00::9", "10.0.0.9"],
        ),
        (
            format!(
                r#"{{{interfaces},"ips":[{{"address":"1.1.1.1/8","interface":0}},{{"address":"2.2.2.2/8","interface":2}}]}}"#
            ),
            vec!["2.2.2.2"],
        ),
        (
            format!(r#"{{{interfaces},"ips":[{{"address":"1.1.1.1/8","interface":0}}]}}"#),
            vec!["1.1.1.1"],
        ),
        (
            r#"{"cniVersion":"1.1.0","interfaces":null,"ips":null,"later":[1]}"#.to_owned(),
            vec![],
        ),
    ] {
        assert_eq!(ips(&output).unwrap(), expected, "{output}");
    }
}

#[test]
fn the_document_is_kept() {
    let output = "{\"cniVersion\":\"1.0.0\", \"ips\":[ ],\n \"later\": 1.0}\n";
    assert_eq!(
        parse(output, Version::V1_1_0, "eth0").unwrap().document.get(),
        output.trim()
    );
    assert_eq!(
        parse(r#"{"ips":[ ]}"#, Version::V0_4_0, "eth0")
            .unwrap()
            .document
            .get(),
        r#"{"cniVersion":"0.4.0","ips":[ ]}"#
    );
}

#[test]
fn what_is_no_result_is_told() {
    for (output, expected) in [
        ("", "printed no result"),
        ("  \n", "printed no result"),
        ("hello", "printed no JSON object: "),
        ("null", "printed no JSON object: "),
        ("{} {}", "printed no JSON object: "),
        (
            r#"{"cniVersion":"7.0.0"}"#,
            "cniVersion: \"7.0.0\" is not a version",
        ),
        (r#"{"cniVersion":7}"#, "cniVersion: 7 is not a string"),
        (
            r#"{"ips":[{"address":"10.0.0.1"}]}"#,
            "ips[0].address: \"10.0.0.1\" is not an address with",
        ),
        (
            r#"{"ips":[{"address":"10.0.0.1/8","interface":3}]}"#,
            "ips[0].interface: 3, but 0 interfaces",
        ),
        (
            r#"{"ips":[{"address":"10.0.0.1/8","interface":-1}]}"#,
            "ips[0].interface: -1, but 0 interfaces",
        ),
        (r#"{"ips":5}"#, "printed a result of another form: "),
    ] {
        let error = ips(output).unwrap_err();
        assert!(error.starts_with(expected), "{output}: {error}");
    }
}

#[test]
fn errors_are_read() {
    let error =
        PluginError::parse(r#"{"cniVersion":"1.0.0","code":7,"msg":"bad","details":"more"}"#).unwrap();
    assert_eq!(
        (error.code, error.to_string().as_str()),
        (7, "bad; more (code 7)")
    );
    assert_eq!(
        PluginError::parse(r#"{"msg":"bad","details":""}"#)
            .unwrap()
            .to_string(),
        "bad (code 0)"
    );
    assert_eq!(PluginError::parse("{}"), None);
    assert_eq!(PluginError::parse("oops"), None);
}

#[test]
fn results_change_their_form_with_the_version() {
    let of = |text: &str, to: &str| {
        let document = RawValue::from_string(text.to_owned()).unwrap();
        convert(&document, Version::parse(to).unwrap()).map(|document| document.get().to_owned())
    };
    let current = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0},{"address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"x":1}"#;
    let named = r#"{"cniVersion":"0.4.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0,"version":"4"},{"address":"fd00::2/64","version":"6"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"x":1}"#;
    let old = r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"fd00::2/64","routes":[{"dst":"::/0"}]},"x":1}"#;
    assert_eq!(of(current, "1.0.0").unwrap(), current);
    assert_eq!(of(current, "1.1.0").unwrap(), current.replace("1.0.0", "1.1.0"));
    assert_eq!(of(current, "0.4.0").unwrap(), named);
    assert_eq!(of(named, "1.0.0").unwrap(), current);
    assert_eq!(of(current, "0.2.0").unwrap(), old);
    assert_eq!(of(named, "0.2.0").unwrap(), old);
    assert_eq!(
        of(old, "0.4.0").unwrap(),
        r#"{"cniVersion":"0.4.0","ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","version":"4"},{"address":"fd00::2/64","version":"6"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"x":1}"#
    );
    assert!(of(r#"{"cniVersion":"1.0.0","ips":7}"#, "0.4.0").is_err());
    assert!(of("[]", "0.4.0").is_err());
}

proptest::proptest! {
    #[test]
    fn no_output_makes_it_panic(text in ".{0,200}", number in proptest::num::i64::ANY) {
        let _ = ips(&text);
        let _ = PluginError::parse(&text);
        let _ = ips(&format!(r#"{{"interfaces":[{{}}],"ips":[{{"address":"1.1.1.1/8","interface":{number}}}]}}"#));
    }
}
