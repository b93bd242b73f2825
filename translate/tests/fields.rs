//! `FIELDS.md` says of every call and every field of CRI what becomes of it.
//!
//! A field that nobody has thought of is not honoured, not refused and not documented: the page is held
//! against the compiled messages, so that a new one fails here until somebody decides.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

const PAGE: &str = include_str!("../../FIELDS.md");

/// What may become of a field.
const WORDS: [&str; 7] = [
    "honoured",
    "recorded",
    "passed over",
    "refused",
    "answered",
    "left out",
    "not served",
];

#[test]
fn every_field_and_call_is_decided() {
    assert_eq!(faults(PAGE), Vec::<String>::new());
}

/// The comparison itself can fail: each fault put into the page is found.
#[test]
fn a_fault_is_found() {
    let cases = [
        (
            "| ContainerConfig | `metadata` |",
            "| ContainerConfig | `metadata`, `new` |",
            "ContainerConfig.new: is not in CRI",
        ),
        (
            "| ContainerConfig | `envs` |",
            "| ContainerConfig | `env` |",
            "ContainerConfig.envs: nobody has decided",
        ),
        ("| `Version` | served |", "", "Version: nobody has decided"),
        (
            "| `Version` | served |",
            "| `Version` | perhaps |",
            "Version: \"perhaps\" is no decision",
        ),
        (
            "| StopContainerResponse | | | |",
            "",
            "StopContainerResponse: nobody has decided",
        ),
        (
            "| KeyValue | `key` | honoured",
            "| KeyValue | `key` | dropped",
            "KeyValue: \"dropped\" is no decision",
        ),
    ];
    for (row, altered, fault) in cases {
        assert_eq!(PAGE.matches(row).count(), 1, "{row:?} names no single row");
        let found = faults(&PAGE.replace(row, altered));
        assert!(
            found.iter().any(|found| found.starts_with(fault)),
            "{fault}: {found:?}"
        );
    }
}

/// Everything in which the page and CRI are not the same.
fn faults(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut calls: BTreeMap<String, u32> = BTreeMap::new();
    let mut fields: BTreeMap<(String, String), u32> = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", call, decision, ""] if call.starts_with('`') => {
                let word = decision.split(':').next().unwrap_or_default();
                if !["served", "not served"].contains(&word) {
                    found.push(format!("{}: {decision:?} is no decision", call.trim_matches('`')));
                }
                *calls.entry(call.trim_matches('`').to_owned()).or_default() += 1;
            }
            ["", message, "", "", "", ""] => {
                *fields.entry(((*message).to_owned(), String::new())).or_default() += 1;
            }
            ["", message, names, word, _, ""] if names.starts_with('`') => {
                if !WORDS.contains(word) {
                    found.push(format!("{message}: {word:?} is no decision"));
                }
                for name in names.split(',') {
                    let name = name.trim().trim_matches('`').to_owned();
                    *fields.entry(((*message).to_owned(), name)).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    let (known_calls, known_fields) = known();
    let mut compare = |name: String, count: u32, known: bool| match (count, known) {
        (0, _) => found.push(format!("{name}: nobody has decided what becomes of it")),
        (_, false) => found.push(format!("{name}: is not in CRI")),
        (1, true) => {}
        _ => found.push(format!("{name}: is there {count} times")),
    };
    for call in calls.keys().chain(&known_calls).collect::<BTreeSet<_>>() {
        let count = calls.get(call).copied().unwrap_or_default();
        compare(call.clone(), count, known_calls.contains(call));
    }
    for key in fields.keys().chain(&known_fields).collect::<BTreeSet<_>>() {
        let count = fields.get(key).copied().unwrap_or_default();
        let name = [key.0.as_str(), &key.1].join(".");
        compare(
            name.trim_end_matches('.').to_owned(),
            count,
            known_fields.contains(key),
        );
    }
    found
}

/// The calls of both services, and the fields of all messages; an empty message has one without a name.
fn known() -> (BTreeSet<String>, BTreeSet<(String, String)>) {
    let set = FileDescriptorSet::decode(cri::DESCRIPTORS).unwrap();
    let file = &set.file[0];
    let calls = file
        .service
        .iter()
        .flat_map(|service| &service.method)
        .map(|method| method.name().to_owned())
        .collect();
    let fields = |message: &DescriptorProto| -> Vec<(String, String)> {
        // Maps are nested messages of their own making; CRI nests no others.
        let maps = |nested: &DescriptorProto| nested.options.as_ref().is_some_and(|o| o.map_entry());
        assert!(message.nested_type.iter().all(maps), "{}", message.name());
        let of = |name: &str| (message.name().to_owned(), name.to_owned());
        match message.field.as_slice() {
            [] => vec![of("")],
            fields => fields.iter().map(|field| of(field.name())).collect(),
        }
    };
    (calls, file.message_type.iter().flat_map(fields).collect())
}
