#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A pull as Engine 28.5 sends it.
const STREAM: &str = concat!(
    "{\"status\":\"Pulling from x\",\"id\":\"t\"}\r\n",
    "{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"55295d4fcb60\"}\r\n",
    "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":36747,\"total\":3001117},",
    "\"progress\":\"[\\u003e     ]  36.75kB/3.001MB\",\"id\":\"55295d4fcb60\"}\r\n",
    "{\"status\":\"Pull complete\",\"progressDetail\":{},\"id\":\"55295d4fcb60\"}\r\n",
    "{\"status\":\"Status: Downloaded newer image for 127.0.0.1:5065/x:t\"}\r\n",
);

fn decode(pieces: &[&[u8]]) -> Result<Vec<PullMessage>, Garbled> {
    let mut decoder = PullDecoder::new();
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut messages)?;
    }
    decoder.finish()?;
    Ok(messages)
}

fn message(text: &str) -> PullMessage {
    let mut messages = decode(&[text.as_bytes()]).unwrap();
    assert_eq!(messages.len(), 1, "{text}");
    messages.remove(0)
}

fn layer(id: &str, status: &str, current: i64) -> PullMessage {
    PullMessage {
        id: Some(id.to_owned()),
        status: Some(status.to_owned()),
        progress_detail: Some(ProgressDetail {
            current: Some(current),
            total: Some(100),
        }),
        ..PullMessage::default()
    }
}

#[test]
fn messages_are_separated_by_anything_or_nothing() {
    let whole = decode(&[STREAM.as_bytes()]).unwrap();
    assert_eq!(whole.len(), 5);
    assert_eq!(whole[0].id.as_deref(), Some("t"));
    assert_eq!(whole[1].progress_detail, Some(ProgressDetail::default()));
    let detail = ProgressDetail {
        current: Some(36747),
        total: Some(3_001_117),
    };
    assert_eq!(whole[2].progress_detail, Some(detail));
    assert_eq!(whole[4].id, None);
    assert_eq!(decode(&[STREAM.replace("\r\n", "").as_bytes()]).unwrap(), whole);
    assert_eq!(
        decode(&[STREAM.replace("\r\n", "\n\t ").as_bytes()]).unwrap(),
        whole
    );
    assert_eq!(decode(&[]).unwrap(), []);
}

#[test]
fn odd_fields_are_tolerated() {
    let odd = message(
        r#"{"status":null,"id":null,"progressDetail":null,"error":null,"aux":{"ID":"}"},"x":[{"\\\"":"]"}]}"#,
    );
    assert_eq!(odd, PullMessage::default());
    assert_eq!(odd.failure(), None);
}

#[test]
fn failures_are_found_in_either_field() {
    let table = [
        (
            r#"{"errorDetail":{"message":"unknown blob"},"error":"unknown blob"}"#,
            Some("unknown blob"),
        ),
        (r#"{"errorDetail":{"code":401,"message":"no"}}"#, Some("no")),
        (r#"{"error":"no"}"#, Some("no")),
        (
            r#"{"error":"","errorDetail":{}}"#,
            Some("the Engine gave no reason"),
        ),
        (r#"{"status":"error: none"}"#, None),
    ];
    for (text, expected) in table {
        assert_eq!(message(text).failure(), expected, "{text}");
    }
}

#[test]
fn what_is_no_message_is_an_error() {
    let not = |text: &str| decode(&[text.as_bytes()]).unwrap_err();
    assert_eq!(
        not("{}\n404 page not found\n"),
        Garbled::NotAMessage("404 page not found\n".into())
    );
    assert_eq!(not("[{}]"), Garbled::NotAMessage("[{}]".into()));
    assert_eq!(not("}"), Garbled::NotAMessage("}".into()));
    assert_eq!(
        not("{\"status\":5}"),
        Garbled::NotAMessage("{\"status\":5}".into())
    );
    assert_eq!(not("{]"), Garbled::NotAMessage("{]".into()));
    assert_eq!(
        not("{\"status\":\"Dow"),
        Garbled::CutOff("{\"status\":\"Dow".into())
    );
}

#[test]
fn one_message_is_bounded() {
    let text = format!("{{\"status\":\"{}\"}}", "x".repeat(MAX_OBJECT - 13));
    assert_eq!(text.len(), MAX_OBJECT);
    assert_eq!(decode(&[text.as_bytes()]).unwrap().len(), 1);
    let text = format!("{{\"status\":\"{}", "x".repeat(MAX_OBJECT));
    assert_eq!(decode(&[text.as_bytes()]).unwrap_err(), Garbled::TooLong);
    // Many messages together are not.
    let many = "{}\r\n".repeat(MAX_OBJECT / 2);
    assert_eq!(decode(&[many.as_bytes()]).unwrap().len(), MAX_OBJECT / 2);
}

proptest! {
    #[test]
    fn a_stream_may_be_split_anywhere(mut cuts in proptest::collection::vec(0..STREAM.len(), 0..9)) {
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&STREAM.as_bytes()[from..cut]);
            from = cut;
        }
        pieces.push(&STREAM.as_bytes()[from..]);
        prop_assert_eq!(decode(&pieces), decode(&[STREAM.as_bytes()]));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&bytes]);
    }

    #[test]
    fn any_braces_are_judged_without_a_panic(text in "[\\[\\]{}\",:a\\\\ 1]{0,60}") {
        let _ = decode(&[text.as_bytes()]);
        let _ = classify(&text);
    }
}

/// Feeds the messages one second apart; the answer is how long the pull has been idle after each.
fn idle_after(messages: &[PullMessage]) -> Vec<u64> {
    let mut progress = PullProgress::new();
    let mut idle = Vec::new();
    for (second, message) in (1..).zip(messages) {
        let now = Duration::from_secs(second);
        progress.observe(message, now);
        idle.push(progress.idle(now).as_secs());
    }
    idle
}

#[test]
fn only_new_bytes_and_new_stages_are_progress() {
    let messages = [
        message(r#"{"status":"Pulling from x","id":"t"}"#),
        layer("a", "Pulling fs layer", 0),
        layer("a", "Downloading", 10),
        layer("a", "Downloading", 10),
        layer("a", "Downloading", 20),
        // Ticks of the countdown are none, the next attempt is one.
        layer("a", "Retrying in 2 seconds", 0),
        layer("a", "Retrying in 1 second", 0),
        layer("a", "Downloading", 15),
        layer("a", "Retrying in 4 seconds", 0),
        layer("a", "Retrying in 3 seconds", 0),
        layer("a", "Downloading", 20),
        layer("a", "Downloading", 21),
        layer("b", "Already exists", 0),
        layer("b", "Already exists", 0),
        layer("a", "Verifying Checksum", 0),
        layer("a", "Some new stage 1", 0),
        layer("a", "Some new stage 2", 0),
        layer("a", "Some new stage 2", 0),
    ];
    let expected = [0, 0, 0, 1, 0, 0, 1, 2, 0, 1, 2, 0, 0, 1, 0, 0, 0, 1];
    assert_eq!(idle_after(&messages), expected);
}

#[test]
fn what_a_pull_waits_for_follows_its_layers() {
    let table: [(&[(&str, &str)], WaitingFor); 9] = [
        (&[], WaitingFor::Registry),
        (&[("a", "Pulling fs layer")], WaitingFor::Registry),
        (&[("a", "Pulling fs layer"), ("a", "Waiting")], WaitingFor::Turn),
        (&[("a", "Waiting"), ("b", "Already exists")], WaitingFor::Turn),
        (&[("a", "Waiting"), ("b", "Downloading")], WaitingFor::Registry),
        (
            &[("a", "Waiting"), ("b", "Retrying in 5 seconds")],
            WaitingFor::Registry,
        ),
        (&[("a", "Downloading"), ("b", "Extracting")], WaitingFor::Disk),
        (
            &[("a", "Downloading"), ("b", "Extracting"), ("b", "Pull complete")],
            WaitingFor::Registry,
        ),
        (
            &[("a", "Download complete"), ("b", "Pull complete")],
            WaitingFor::Disk,
        ),
    ];
    for (statuses, expected) in table {
        let mut progress = PullProgress::new();
        for (id, status) in statuses {
            progress.observe(&layer(id, status, 0), Duration::ZERO);
        }
        assert_eq!(progress.waiting_for(), expected, "{statuses:?}");
    }
}

#[test]
fn the_first_failure_is_the_outcome() {
    let mut progress = PullProgress::new();
    for message in decode(&[STREAM.as_bytes()]).unwrap() {
        progress.observe(&message, Duration::from_secs(1));
    }
    assert_eq!(progress.outcome(), Ok(()));
    progress.observe(&message(r#"{"error":"first"}"#), Duration::from_secs(2));
    progress.observe(&message(r#"{"error":"second"}"#), Duration::from_secs(2));
    assert_eq!(progress.outcome(), Err("first"));
    // A clock that seems to go back is no panic.
    assert_eq!(progress.idle(Duration::ZERO), Duration::ZERO);
}

/// Texts of Engines 20.10.24 and 28.5.2 for registries that were made to fail in these ways, and a few
/// of containerd's image store.
#[test]
fn the_engines_texts_are_classified() {
    use PullFailure::{Denied, NotFound, Other, RegistryUnavailable};
    let table = [
        (
            "received unexpected HTTP status: 500 Internal Server Error",
            RegistryUnavailable,
        ),
        (
            "received unexpected HTTP status: 502 Bad Gateway",
            RegistryUnavailable,
        ),
        (
            "received unexpected HTTP status: 503 Service Unavailable",
            RegistryUnavailable,
        ),
        (
            "received unexpected HTTP status: 504 Gateway Timeout",
            RegistryUnavailable,
        ),
        ("received unexpected HTTP status: 520 ", RegistryUnavailable),
        ("toomanyrequests: oops", RegistryUnavailable),
        (
            r#"error parsing HTTP 429 response body: invalid character 'o' looking for beginning of value: "oops""#,
            RegistryUnavailable,
        ),
        (
            "toomanyrequests: You have reached your pull rate limit.",
            RegistryUnavailable,
        ),
        (
            r#"Head "http://127.0.0.1:5055/v2/close/x/manifests/t": EOF"#,
            RegistryUnavailable,
        ),
        ("unexpected EOF", RegistryUnavailable),
        (
            r#"Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused"#,
            RegistryUnavailable,
        ),
        (
            r#"Get "https://no-such-host.invalid/v2/": dial tcp: lookup no-such-host.invalid on 10.255.255.53:53: no such host"#,
            RegistryUnavailable,
        ),
        (
            r#"Head "http://127.0.0.1:5066/v2/x/manifests/t": received unexpected HTTP status: 503 Service Unavailable"#,
            RegistryUnavailable,
        ),
        (
            r#"Head "http://127.0.0.1:5068/v2/x/manifests/t": Get "http://127.0.0.1:1/token?account=u&scope=repository%3Ax%3Apull&service=x": dial tcp 127.0.0.1:1: connect: connection refused"#,
            RegistryUnavailable,
        ),
        (
            r#"Get "https://x.io/v2/": net/http: TLS handshake timeout"#,
            RegistryUnavailable,
        ),
        (
            r#"Get "https://x.io/v2/": dial tcp 192.0.2.1:443: i/o timeout"#,
            RegistryUnavailable,
        ),
        (
            r#"Get "https://x.io/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"#,
            RegistryUnavailable,
        ),
        (
            r#"failed to resolve reference "x.io/a:1": unexpected status from HEAD request to https://x.io/v2/a/manifests/1: 522 "#,
            RegistryUnavailable,
        ),
        (
            r#"failed to resolve reference "x.io/a:1": unexpected status from HEAD request to https://x.io/v2/a/manifests/1: 429 Too Many Requests"#,
            RegistryUnavailable,
        ),
        ("unauthorized: oops", Denied),
        ("unauthorized: authentication required", Denied),
        ("unauthorized", Denied),
        ("denied", Denied),
        (
            r#"error parsing HTTP 403 response body: invalid character 'o' looking for beginning of value: "oops""#,
            Denied,
        ),
        (
            "pull access denied for x/x, repository does not exist or may require 'docker login': denied: oops",
            Denied,
        ),
        (
            r#"Head "http://127.0.0.1:5067/v2/x/manifests/t": unauthorized: incorrect username or password"#,
            Denied,
        ),
        (
            r#"failed to resolve reference "x.io/a:1": unexpected status from HEAD request to https://x.io/v2/a/manifests/1: 403 Forbidden"#,
            Denied,
        ),
        ("manifest unknown", NotFound),
        ("name unknown", NotFound),
        (
            "manifest for 127.0.0.1:5000/pause:nope not found: manifest unknown: manifest unknown",
            NotFound,
        ),
        (
            "manifest for 127.0.0.1:5000/denied:unauthorized not found",
            NotFound,
        ),
        (
            r#"error parsing HTTP 404 response body: invalid character 'o' looking for beginning of value: "oops""#,
            NotFound,
        ),
        (
            r#"failed to resolve reference "x.io/a:1": x.io/a:1: not found"#,
            NotFound,
        ),
        (
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            NotFound,
        ),
        ("unknown blob", Other),
        ("unknown: oops", Other),
        ("missing signature key", Other),
        ("invalid tag format", Other),
        ("'scratch' is a reserved name", Other),
        (
            "filesystem layer verification failed for digest sha256:55295d4fcb60",
            Other,
        ),
        (
            "error unmarshalling content: invalid character '<' looking for beginning of value",
            Other,
        ),
        (
            r#"Get "https://10.0.0.1/v2/": tls: failed to verify certificate: x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs"#,
            Other,
        ),
        (
            "failed to register layer: write /x: no space left on device",
            Other,
        ),
        ("", Other),
    ];
    for (text, expected) in table {
        assert_eq!(classify(text), expected, "{text}");
    }
}

#[test]
fn the_kubelet_finds_its_word_first() {
    let text = "received unexpected HTTP status: 503 Service Unavailable";
    assert_eq!(
        classify(text).message("x.io/a", text),
        "RegistryUnavailable: pull of \"x.io/a\" failed: received unexpected HTTP status: 503 Service Unavailable"
    );
    assert_eq!(
        PullFailure::Denied.message("x.io/a", "denied"),
        "pull of \"x.io/a\" failed: denied"
    );
}
