//! What is scraped over HTTP.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
};

use support::eventually;

use super::{Node, PATIENCE, SLEEP};

/// The status, the head and the body of an answer.
fn ask(address: &str, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

/// A sample's name with its labels, and its value.
type Sample = ((String, Vec<(String, String)>), f64);

/// Reads a text by the grammar of the format, which allows no other line.
fn parse(text: &str) -> Vec<Sample> {
    let mut kinds = HashMap::new();
    let mut samples = Vec::new();
    assert!(text.ends_with('\n'), "the last line has an end");
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("TYPE"), Some(name), Some(kind)) => {
                    assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                    assert!(
                        kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                        "twice: {line}"
                    );
                }
                (Some("HELP" | "UNIT"), Some(_), Some(_)) | (Some("EOF"), None, None) => {}
                _ => panic!("{line}"),
            }
            continue;
        }
        let sample = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
        let name = &sample.0.0;
        let family = ["_total", "_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| kinds.get(name.strip_suffix(end)?));
        assert!(kinds.contains_key(name) || family.is_some(), "no type: {line}");
        samples.push(sample);
    }
    let mut names: Vec<_> = samples.iter().map(|sample| &sample.0).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "no sample is told twice");
    samples
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut labels = Vec::new();
    if let Some(mut list) = rest.strip_prefix('{') {
        loop {
            let (key, after) = list.split_once("=\"")?;
            if !key.chars().all(good) {
                return None;
            }
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        _ => return None,
                    }),
                    (_, c) => value.push(c),
                }
            };
            labels.push((key.to_owned(), value));
            list = &after[end + 1..];
            if let Some(after) = list.strip_prefix('}') {
                rest = after;
                break;
            }
            list = list.strip_prefix(',')?;
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    Some(((name.to_owned(), labels), value))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_served_where_they_are_asked_for() {
    let node = Node::of(support::daemon!().flag("--metrics-bind-addr=127.0.0.1:0")).await;
    let running = node.run("running", SLEEP).await;
    let address = eventually("the address is told", PATIENCE, || {
        let log = node.daemon.log();
        let line = log
            .lines()
            .find(|line| line.contains("serving metrics"))?
            .to_owned();
        let (_, address) = line.split_once("address=")?;
        Some(address.split_whitespace().next()?.trim_matches('"').to_owned())
    });
    let (status, head, text) = ask(&address, "GET /metrics");
    assert_eq!(status, 200, "{text}");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    let samples = parse(&text);
    let value = |name: &str, label: Option<(&str, &str)>| {
        let has = |labels: &[(String, String)]| {
            label.is_none_or(|(k, v)| labels.iter().any(|(a, b)| a == k && b == v))
        };
        let found = samples
            .iter()
            .find(|((found, labels), _)| found == name && has(labels));
        found.unwrap_or_else(|| panic!("no {name} {label:?} in {text}")).1
    };
    assert_eq!(
        value(
            "dockside_rpc_duration_seconds_count",
            Some(("rpc", "RunPodSandbox"))
        ),
        1.0
    );
    assert!(
        value(
            "dockside_rpc_duration_seconds_sum",
            Some(("rpc", "RunPodSandbox"))
        ) > 0.0
    );
    assert!(
        value(
            "dockside_engine_call_duration_seconds_count",
            Some(("call", "POST /containers/create"))
        ) >= 2.0
    );
    assert!(
        value(
            "dockside_cni_command_duration_seconds_count",
            Some(("command", "ADD"))
        ) >= 1.0
    );
    assert!(value("process_resident_memory_bytes", None) > 1e6);
    assert!(value("process_cpu_seconds_total", None) > 0.0);

    let (status, head, text) = ask(&address, "GET /metrics/pods");
    assert_eq!(status, 200, "{text}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let samples = parse(&text);
    let of = |name: &str, key: &str, value: &str| {
        let has = |labels: &[(String, String)]| labels.iter().any(|(k, v)| k == key && v == value);
        samples
            .iter()
            .find(|((found, labels), _)| found == name && has(labels))
            .unwrap_or_else(|| panic!("no {name} of {value}"))
    };
    let ((_, labels), value) = of("container_memory_working_set_bytes", "id", &running);
    assert!(*value > 0.0);
    let label = |key: &str| &labels.iter().find(|(found, _)| found == key).unwrap().1;
    assert_eq!(
        (label("pod").as_str(), label("container").as_str()),
        ("pod", "running")
    );
    assert_eq!(label("namespace"), node.daemon.name());
    assert!(!label("image").is_empty());
    of("container_network_receive_bytes_total", "id", &node.sandbox);

    assert_eq!(ask(&address, "GET /").0, 404);
    assert_eq!(ask(&address, "POST /metrics").0, 405);
    assert_eq!(ask(&address, "HEAD /metrics").2, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_nothing_is_served() {
    let daemon = support::daemon!().start().await;
    assert!(!daemon.log().contains("serving metrics"));
}
