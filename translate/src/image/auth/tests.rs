#![allow(clippy::unwrap_used)]

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn pull(reference: &str, auth: &cri::AuthConfig) -> Result<Option<Value>, Invalid> {
    let found = registry_auth(Some(auth), &ImageReference::parse(reference).unwrap())?;
    Ok(found.map(|auth| header_of(&auth)))
}

/// Decodes a header the way the Engine does.
fn header_of(auth: &RegistryAuth) -> Value {
    serde_json::from_slice(&URL_SAFE.decode(auth.header()).unwrap()).unwrap()
}

fn inline(config: &Value, domain: &str) -> Option<Value> {
    match host_credentials(&config.to_string(), domain).unwrap() {
        HostCredentials::Inline(auth) => Some(header_of(&auth)),
        HostCredentials::Absent => None,
        HostCredentials::Helper { program, .. } => panic!("{program} was to be asked"),
    }
}

fn user(username: &str, password: &str) -> cri::AuthConfig {
    cri::AuthConfig {
        username: username.into(),
        password: password.into(),
        ..Default::default()
    }
}

#[test]
fn credentials_are_for_the_images_registry() {
    let hub = "https://index.docker.io/v1/";
    let table = [
        ("nginx", "", Some(hub)),
        ("nginx", "https://index.docker.io/v1/", Some(hub)),
        ("nginx", "docker.io", Some(hub)),
        ("nginx", "registry-1.docker.io/v2/", Some(hub)),
        ("x.io:5000/a", "", Some("x.io:5000")),
        ("x.io:5000/a", "http://x.io:5000/v2/", Some("x.io:5000")),
        ("x.io:5000/a", "x.io:5000/team", Some("x.io:5000")),
        ("x.io:5000/a", "x.io", None),
        ("x.io/a", "https://index.docker.io/v1/", None),
        ("nginx", "x.io", None),
    ];
    for (image, server_address, expected) in table {
        let auth = cri::AuthConfig {
            server_address: server_address.into(),
            ..user("u", "p")
        };
        let expected =
            expected.map(|server| json!({"username": "u", "password": "p", "serveraddress": server}));
        assert_eq!(pull(image, &auth).unwrap(), expected, "{image} {server_address}");
    }
}

#[test]
fn nothing_is_sent_for_nothing() {
    let reference = ImageReference::parse("nginx").unwrap();
    assert_eq!(registry_auth(None, &reference), Ok(None));
    assert_eq!(pull("nginx", &cri::AuthConfig::default()), Ok(None));
    let address_only = cri::AuthConfig {
        server_address: "docker.io".into(),
        ..Default::default()
    };
    assert_eq!(pull("nginx", &address_only), Ok(None));
}

#[test]
fn tokens_are_passed_on() {
    let auth = cri::AuthConfig {
        identity_token: "i".into(),
        registry_token: "r".into(),
        ..Default::default()
    };
    let expected = json!({"serveraddress": "x.io", "identitytoken": "i", "registrytoken": "r"});
    assert_eq!(pull("x.io/a", &auth).unwrap(), Some(expected));
}

#[test]
fn the_combined_form_is_split_at_its_first_colon() {
    let table = [
        (STANDARD.encode("user:pa:ss"), "user", "pa:ss"),
        (
            STANDARD.encode("user:p").trim_end_matches('=').to_owned(),
            "user",
            "p",
        ),
        (format!("{}\n", STANDARD.encode("user:p")), "user", "p"),
        (STANDARD.encode("user:p\0\0"), "user", "p"),
        // Bytes that only the standard alphabet writes with `+` and `/`.
        (STANDARD.encode("ü>>>:???ÿ"), "ü>>>", "???ÿ"),
    ];
    for (auth, username, password) in table {
        let config = cri::AuthConfig {
            auth,
            ..Default::default()
        };
        let expected = json!({"username": username, "password": password, "serveraddress": "x.io"});
        assert_eq!(pull("x.io/a", &config).unwrap(), Some(expected));
    }
    let both = cri::AuthConfig {
        auth: STANDARD.encode("other:x"),
        ..user("u", "p")
    };
    assert_eq!(pull("x.io/a", &both).unwrap().unwrap()["username"], "u");
}

#[test]
fn a_wrong_combined_form_is_not_repeated() {
    for auth in [
        "s3cret!",
        &STANDARD.encode("s3cret-without-colon"),
        &STANDARD.encode(b"\xffs3cret:x"),
    ] {
        let error = pull(
            "x.io/a",
            &cri::AuthConfig {
                auth: auth.into(),
                ..Default::default()
            },
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "auth.auth: is not base64 of user:password");
    }
    let shown = format!(
        "{:?}",
        registry_auth(Some(&user("u", "s3cret")), &ImageReference::parse("a").unwrap())
    );
    assert!(shown.contains("\"u\"") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn the_hosts_configuration_is_searched_by_registry() {
    let auth = STANDARD.encode("u:p");
    let config = json!({
        "auths": {
            "https://index.docker.io/v1/": {"auth": auth},
            "http://plain.example/v2/": {"username": "name", "password": "word"},
            "token.example:5000": {"auth": STANDARD.encode("<token>:"), "identitytoken": "t"},
            "helper.example": {},
            "null.example": null,
        },
        "HttpHeaders": {"User-Agent": "x"},
    });
    let hub = json!({"username": "u", "password": "p", "serveraddress": "https://index.docker.io/v1/"});
    assert_eq!(inline(&config, "docker.io"), Some(hub));
    let plain = json!({"username": "name", "password": "word", "serveraddress": "plain.example"});
    assert_eq!(inline(&config, "plain.example"), Some(plain));
    assert_eq!(
        inline(&config, "token.example:5000").unwrap()["identitytoken"],
        "t"
    );
    for absent in ["helper.example", "null.example", "other.example", "token.example"] {
        assert_eq!(inline(&config, absent), None, "{absent}");
    }
    for empty in [
        "{}",
        r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
        r#"{"credsStore":""}"#,
    ] {
        assert_eq!(
            host_credentials(empty, "docker.io").unwrap(),
            HostCredentials::Absent
        );
    }
    // Written by hand, without the URL that Docker writes.
    let short = json!({"auths": {"docker.io": {"auth": auth}}});
    assert_eq!(inline(&short, "docker.io").unwrap()["username"], "u");
}

#[test]
fn helpers_are_asked_before_the_file() {
    let config = json!({
        "auths": {"gcr.io": {"username": "u", "password": "p"}},
        "credHelpers": {"gcr.io": "gcloud", "https://index.docker.io/v1/": "hub"},
        "credsStore": "pass",
    });
    let helper = |program: &str, server: &str| HostCredentials::Helper {
        program: program.into(),
        server: server.into(),
    };
    let ask = |domain| host_credentials(&config.to_string(), domain).unwrap();
    assert_eq!(ask("gcr.io"), helper("docker-credential-gcloud", "gcr.io"));
    assert_eq!(
        ask("docker.io"),
        helper("docker-credential-hub", "https://index.docker.io/v1/")
    );
    assert_eq!(ask("x.io"), helper("docker-credential-pass", "x.io"));

    let escape = json!({"credsStore": "../../tmp/x"}).to_string();
    let error = host_credentials(&escape, "x.io").unwrap_err();
    assert_eq!(error.field, "credsStore");
}

#[test]
fn a_wrong_configuration_is_not_repeated() {
    let table = [
        (
            r#"{"auths":{"x.io":{"auth":"s3cret"}}}"#,
            "auths[\"x.io\"].auth: is not base64 of user:password",
        ),
        (
            r#"{"auths":{"x.io":"s3cret"}}"#,
            "config.json: an unexpected value at line 1, column 25",
        ),
        (
            r#"{"auths":{"x.io":{"auth":"s3cret"#,
            "config.json: no valid JSON at line 1, column 32",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(host_credentials(text, "x.io").unwrap_err().to_string(), expected);
    }
}

#[test]
fn helper_answers_are_users_or_tokens_or_nothing() {
    let ask = |text: &str| helper_answer(text, "x.io").map(|found| found.map(|auth| header_of(&auth)));
    let user = ask(r#"{"ServerURL":"x.io","Username":"u","Secret":"s"}"#).unwrap();
    assert_eq!(
        user,
        Some(json!({"username": "u", "password": "s", "serveraddress": "x.io"}))
    );
    let token = ask(r#"{"ServerURL":"x.io","Username":"<token>","Secret":"s"}"#).unwrap();
    assert_eq!(
        token,
        Some(json!({"identitytoken": "s", "serveraddress": "x.io"}))
    );
    assert_eq!(ask("credentials not found in native keychain\n").unwrap(), None);
    let error = ask(r#"{"Secret":["s3cret"]}"#).unwrap_err().to_string();
    assert!(
        error.starts_with("the credential helper's answer: ") && !error.contains("s3cret"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn headers_are_url_safe_and_read_back(username in "\\PC{1,20}", password in "\\PC*") {
        let reference = ImageReference::parse("x.io/a").unwrap();
        let found = registry_auth(Some(&user(&username, &password)), &reference).unwrap().unwrap();
        let header = found.header();
        prop_assert!(header.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)));
        let json = header_of(&found);
        prop_assert_eq!(json["username"].as_str(), Some(username.as_str()));
        prop_assert_eq!(json["password"].as_str().unwrap_or_default(), password.as_str());
    }

    #[test]
    fn any_configuration_is_judged_without_a_panic(text in "\\PC*", domain in "\\PC*") {
        let _ = host_credentials(&text, &domain);
        let _ = helper_answer(&text, &domain);
    }
}
