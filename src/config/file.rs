//! One configuration file: TOML, a key for each option, every fault with its place.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    source::{Given, Origin},
    table::{self, Entry, Kind},
};

/// Reads what `text`, the content of `path`, says of the options.
///
/// # Errors
///
/// Every fault there is, as `path:line:column: what is wrong and what was expected`.
pub(super) fn read(path: &Path, text: &str, entries: &[Entry]) -> Result<Vec<Given>, Vec<String>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors
            .iter()
            .map(|error| {
                let at = error.span().map_or(0, |span| span.start);
                format!("{}: {}", place(path, text, at), error.message())
            })
            .collect());
    }
    let mut given: Vec<Given> = Vec::new();
    let mut faults = Vec::new();
    for (key, value) in document.get_ref() {
        let line = position(text, key.span().start).0;
        let fault = |at: usize, what: String| format!("{}: {what}", place(path, text, at));
        let name = key.get_ref().as_ref();
        let Some(entry) = entries.iter().find(|entry| entry.has_name(name)) else {
            faults.push(fault(key.span().start, unknown(name)));
            continue;
        };
        if given.iter().any(|given| given.key == entry.key()) {
            let what = format!("`{name}` is given under its other name too");
            faults.push(fault(key.span().start, what));
            continue;
        }
        match values(entry, value) {
            Ok(values) => given.push(Given {
                key: entry.key().to_owned(),
                values,
                origin: Origin::File {
                    path: path.to_owned(),
                    line,
                },
            }),
            Err((at, what)) => faults.push(fault(at, format!("{name}: {what}"))),
        }
    }
    if faults.is_empty() {
        // The parser sorts by key; people read from above.
        given.sort_by_key(|given| match given.origin {
            Origin::File { line, .. } => line,
            _ => 0,
        });
        Ok(given)
    } else {
        Err(faults)
    }
}

/// The values of one key, or what is wrong, and where in bytes.
fn values(entry: &Entry, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, (usize, String)> {
    let kind = entry.kind();
    let single = |value: &Spanned<DeValue<'_>>| {
        let found = match (value.get_ref(), kind) {
            (DeValue::String(text), Kind::Text | Kind::TextOrSwitch | Kind::List) => text.to_string(),
            (DeValue::Boolean(switch), Kind::Switch | Kind::TextOrSwitch) => switch.to_string(),
            (DeValue::Integer(number), Kind::Number) if number.radix() == 10 => number.as_str().to_owned(),
            (other, _) => {
                let what = format!("expected {}, found {}", kind.expected(), other.type_str());
                return Err((value.span().start, what));
            }
        };
        if kind == Kind::List && found.contains(',') {
            return Err((
                value.span().start,
                format!("{found:?}: write one string for each value"),
            ));
        }
        entry
            .check(&found)
            .map_err(|why| (value.span().start, format!("{found:?}: {why}")))?;
        Ok(found)
    };
    match value.get_ref() {
        DeValue::Array(items) if kind == Kind::List => items.iter().map(single).collect(),
        _ => single(value).map(|found| vec![found]),
    }
}

fn unknown(key: &str) -> String {
    match table::similar(key) {
        Some(similar) => format!("unknown key `{key}`, expected an option such as `{similar}`"),
        None => format!("unknown key `{key}`, expected an option of `dockside --help` without its dashes"),
    }
}

/// Line and column, from 1, of a byte.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn place(path: &Path, text: &str, at: usize) -> String {
    let (line, column) = position(text, at);
    format!("{}:{line}:{column}", path.display())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        read(Path::new("c.toml"), text, &table::entries())
            .unwrap_err()
            .join("\n")
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "# a comment\ncni-bin-dir = [\"/a\",\n  \"/b\"]\nnetwork-plugin-mtu = 1_400\n\
                    restrict-oom-score-adj = true\nlog-level = 'debug'\npod-cidr = []\n";
        let given = read(Path::new("c.toml"), text, &table::entries()).unwrap();
        let all: Vec<_> = given
            .iter()
            .map(|given| {
                (
                    given.key.as_str(),
                    given.values.join(" "),
                    given.origin.to_string(),
                )
            })
            .collect();
        let expected = [
            ("cni-bin-dir", "/a /b", "c.toml:2"),
            ("network-plugin-mtu", "1400", "c.toml:4"),
            ("restrict-oom-score-adj", "true", "c.toml:5"),
            ("log-level", "debug", "c.toml:6"),
            ("pod-cidr", "", "c.toml:7"),
        ];
        assert_eq!(
            all,
            expected.map(|(key, values, at)| (key, values.to_owned(), at.to_owned()))
        );
    }

    #[test]
    fn faults_have_a_place_and_say_what_was_expected() {
        for (text, fault) in [
            (
                "\nnetwork-plugin = 'kubenet'",
                "c.toml:2:18: network-plugin: \"kubenet\": expected one of cni, docker",
            ),
            (
                "cni-conf-dir = 5",
                "c.toml:1:16: cni-conf-dir: expected a string in quotes, found integer",
            ),
            (
                "cni-bin-dir = [1]",
                "c.toml:1:16: cni-bin-dir: expected a list of strings, found integer",
            ),
            (
                "cni-bin-dir = ['/a', '/b,/c']",
                "c.toml:1:22: cni-bin-dir: \"/b,/c\": write one string",
            ),
            (
                "network-plugin-mtu = '1400'",
                "expected a whole number, found string",
            ),
            (
                "network-plugin-mtu = 70000",
                "c.toml:1:22: network-plugin-mtu: \"70000\": 70000 is not in 0..=65535",
            ),
            ("network-plugin-mtu = 0x10", "expected a whole number"),
            (
                "restrict-oom-score-adj = 1",
                "expected a string in quotes, or true or false, found integer",
            ),
            (
                "shutdown-timeout = 30",
                "expected a string in quotes, found integer",
            ),
            ("shutdown-timeout = '30'", "expected a duration such as 90s"),
            ("docker-endpoint = 'tcp://a:1'", "expected unix:///path"),
            ("pod-cidr = ['10.0.0.0/33']", "expected an address range"),
            (
                "cni-confdir = '/a'",
                "c.toml:1:1: unknown key `cni-confdir`, expected an option such as `cni-conf-dir`",
            ),
            (
                "xyzzy = 1",
                "unknown key `xyzzy`, expected an option of `dockside --help`",
            ),
            ("[cni]\nconf-dir = '/a'", "c.toml:1:2: unknown key `cni`"),
            (
                "log-level = 'info'\nlog-level = 'warn'",
                "c.toml:2:1: duplicate key",
            ),
            (
                "root-directory = '/a'\ncri-dockerd-root-directory = '/b'",
                "is given under its other name too",
            ),
            ("log-level = \"info", "c.toml:1:"),
            ("ä = 'é'; log-level", "c.toml:1:"),
        ] {
            let found = faults(text);
            assert!(found.contains(fault), "{text:?}: {found}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        assert_eq!(faults("a = 1\nlog-level = 3\nb = 2").lines().count(), 3);
    }
}
