use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-11-21T20:01:02.5Z";

fn rendered(entry: &str) -> Result<String, Foreign> {
    let mut out = b"before\n".to_vec();
    let done = render(entry.as_bytes(), &mut out);
    let text = String::from_utf8_lossy(&out).into_owned();
    let line = text
        .strip_prefix("before\n")
        .unwrap_or("what was there is gone")
        .to_owned();
    if done.is_err() {
        assert_eq!(line, "");
    }
    done.map(|()| line)
}

#[test]
fn lines_are_those_of_cri() {
    let cases = [
        (
            r#"{"log":"hello\n","stream":"stdout","time":"NOW"}"#,
            "NOW stdout F hello\n",
        ),
        (
            r#"{"log":"\n","stream":"stderr","time":"NOW"}"#,
            "NOW stderr F \n",
        ),
        (r#"{"log":"","stream":"stdout","time":"NOW"}"#, "NOW stdout P \n"),
        (
            r#"{"log":"a piece","stream":"stdout","time":"NOW"}"#,
            "NOW stdout P a piece\n",
        ),
        // The last two bytes are a backslash and an n.
        (
            r#"{"log":"C:\\n","stream":"stdout","time":"NOW"}"#,
            "NOW stdout P C:\\n\n",
        ),
        (
            r#"{"log":"q\"\\\/\t\r\n","stream":"stdout","time":"NOW"}"#,
            "NOW stdout F q\"\\/\t\r\n",
        ),
        (
            r#"{"log":"\u003ca\u0026b\u003e \u2028 \ud83d\ude00 ü\n","stream":"stdout","time":"NOW"}"#,
            "NOW stdout F <a&b> \u{2028} 😀 ü\n",
        ),
        (
            r#"{"log":"x\n","stream":"stdout","attrs":{"k":"v"},"time":"NOW"}"#,
            "NOW stdout F x\n",
        ),
        (
            r#"{"time":"NOW","stream":"stderr","log":"x\n"}"#,
            "NOW stderr F x\n",
        ),
        (
            r#"{"log":"two\nlines\n","stream":"stdout","time":"NOW"}"#,
            "NOW stdout F two lines\n",
        ),
    ];
    for (entry, line) in cases {
        assert_eq!(
            rendered(&entry.replace("NOW", NOW)),
            Ok(line.replace("NOW", NOW)),
            "{entry}"
        );
    }
}

#[test]
fn what_is_torn_or_foreign_is_refused() {
    for entry in [
        "",
        "{",
        "plain text",
        r#"{"log":"torn"#,
        r#"{"log":"torn\"#,
        r#"{"log":"\ud83d alone\n","stream":"stdout","time":"x"}"#,
        r#"{"log":"\u12","stream":"stdout","time":"x"}"#,
        r#"{"log":"x\n","stream":"a b","time":"2026-11-21T20:01:02.5Z"}"#,
        r#"{"log":"x\n","stream":"stdout","time":""}"#,
        r#"{"log":"a{"log":"b\n","stream":"stdout","time":"x"}"#,
    ] {
        assert_eq!(rendered(entry), Err(Foreign), "{entry}");
    }
}

#[test]
fn both_kinds_of_lines_have_a_stamp() {
    let expected = Stamp::parse(NOW.as_bytes());
    assert!(expected.is_some());
    assert_eq!(stamp(format!("{NOW} stdout F text").as_bytes()), expected);
    assert_eq!(
        stamp(format!(r#"{{"log":"\",\"time\":\"x","stream":"stdout","time":"{NOW}"}}"#).as_bytes()),
        expected
    );
    assert_eq!(stamp(b"text"), None);
}

proptest! {
    #[test]
    fn the_scanner_reads_what_a_json_parser_reads(text in any::<String>(), newline in any::<bool>()) {
        let text = text.replace('\n', "") + if newline { "\n" } else { "" };
        let log = serde_json::to_string(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let entry = format!(r#"{{"log":{log},"stream":"stdout","time":"{NOW}"}}"#);
        let (mut scanned, mut parsed) = (Vec::new(), Vec::new());
        prop_assert_eq!(scan(entry.as_bytes(), &mut scanned), Some(()));
        prop_assert_eq!(parse(entry.as_bytes(), &mut parsed), Some(()));
        prop_assert_eq!(scanned, parsed);
    }

    #[test]
    fn nothing_panics_and_the_scanner_accepts_no_more_than_a_parser(bytes in prop::collection::vec(any::<u8>(), 0..80), escapes in "[\\\\u0-9a-f\"nrt]{0,40}") {
        let _ = render(&bytes, &mut Vec::new());
        let entry = format!(r#"{{"log":"{escapes}","stream":"stdout","time":"{NOW}"}}"#);
        let (mut scanned, mut parsed) = (Vec::new(), Vec::new());
        if scan(entry.as_bytes(), &mut scanned).is_some() {
            prop_assert_eq!(parse(entry.as_bytes(), &mut parsed), Some(()));
            prop_assert_eq!(scanned, parsed);
        }
    }
}
