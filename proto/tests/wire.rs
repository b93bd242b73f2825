//! `runtime.proto` says exactly what the wire table says, and says it with comments.
//!
//! A field with another number or type still compiles and still decodes, into the wrong place: only
//! a comparison with an independent statement of the contract finds it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

#[path = "wire/rows.rs"]
mod rows;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use rows::{Facts, Key, PACKAGE, Table, rows};

const HEADER: &str = "kind\tmessage\tfield\tnumber\ttype\tlabel\tdeprecated";

#[test]
fn the_proto_is_the_wire_table() {
    let differences = differences(cri::WIRE_TABLE, &descriptors());
    assert!(
        differences.is_empty(),
        "runtime.proto and wire.tsv differ:\n  {}",
        differences.join("\n  ")
    );
}

#[test]
fn the_table_is_whole() {
    // So that an emptied table beside an emptied proto does not pass.
    let (table, faults) = parse(cri::WIRE_TABLE);
    assert_eq!(faults, Vec::<String>::new());
    let count = |kind| table.keys().filter(|key| key[0] == kind).count();
    assert_eq!((count("rpc"), count("message"), count("enum")), (43, 496, 95));
}

#[test]
fn everything_named_has_a_comment() {
    let set = descriptors();
    let file = &set.file[0];
    let commented = |path: &[i32]| {
        file.source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .any(|location| location.path == path && !location.leading_comments().trim().is_empty())
    };
    // The numbers of a path are those of the fields in descriptor.proto, then an index.
    let at = |index: usize| i32::try_from(index).unwrap();
    let mut bare = Vec::new();
    for (index, message) in file.message_type.iter().enumerate() {
        if !commented(&[4, at(index)]) {
            bare.push(message.name().to_owned());
        }
        for (number, nested) in message.enum_type.iter().enumerate() {
            if !commented(&[4, at(index), 4, at(number)]) {
                bare.push(format!("{}.{}", message.name(), nested.name()));
            }
        }
    }
    for (index, declared) in file.enum_type.iter().enumerate() {
        if !commented(&[5, at(index)]) {
            bare.push(declared.name().to_owned());
        }
    }
    for (index, service) in file.service.iter().enumerate() {
        if !commented(&[6, at(index)]) {
            bare.push(service.name().to_owned());
        }
        for (number, method) in service.method.iter().enumerate() {
            if !commented(&[6, at(index), 2, at(number)]) {
                bare.push(format!("{}.{}", service.name(), method.name()));
            }
        }
    }
    assert_eq!(bare, Vec::<String>::new(), "without a comment");
}

/// The comparison itself can fail: each fault put into the table gives one difference that names it.
#[test]
fn a_fault_is_found() {
    let faults = [
        // (the row as it is, what takes its place, the difference it makes)
        (
            "message\tVersionRequest\tversion\t1\tstring\t\tfalse\n",
            "",
            "message VersionRequest.version: only in runtime.proto: 1 string",
        ),
        (
            "message\tVersionRequest\tversion\t1\tstring\t\tfalse\n",
            "message\tVersionRequest\tversion\t1\tstring\t\tfalse\nmessage\tVersionRequest\tmore\t2\tbool\t\tfalse\n",
            "message VersionRequest.more: only in wire.tsv: 2 bool",
        ),
        (
            "message\tVersionRequest\tversion\t1\t",
            "message\tVersionRequest\tversion\t2\t",
            "message VersionRequest.version: number is 1 in runtime.proto, 2 in wire.tsv",
        ),
        (
            "message\tKeyValue\tvalue\t2\tbytes",
            "message\tKeyValue\tvalue\t2\tstring",
            "message KeyValue.value: type is bytes in runtime.proto, string in wire.tsv",
        ),
        (
            "message\tContainerConfig\tstop_signal\t18\tSignal",
            "message\tContainerConfig\tstop_signal\t18\tint32",
            "message ContainerConfig.stop_signal: type is Signal in runtime.proto, int32 in wire.tsv",
        ),
        (
            "message\tPodSandboxConfig\tlabels\t6\tmap<string,string>",
            "message\tPodSandboxConfig\tlabels\t6\tmap<string,bytes>",
            "message PodSandboxConfig.labels: type is map<string,string> in runtime.proto, map<string,bytes> in wire.tsv",
        ),
        (
            "message\tDNSConfig\tservers\t1\tstring\trepeated",
            "message\tDNSConfig\tservers\t1\tstring\t",
            "message DNSConfig.servers: label is \"repeated\" in runtime.proto, \"\" in wire.tsv",
        ),
        (
            "message\tLinuxSandboxSecurityContext\tseccomp_profile_path\t7\tstring\t\ttrue",
            "message\tLinuxSandboxSecurityContext\tseccomp_profile_path\t7\tstring\t\tfalse",
            "message LinuxSandboxSecurityContext.seccomp_profile_path: deprecated is true in runtime.proto, false in wire.tsv",
        ),
        (
            "message\tStopContainerResponse\t\t\t\tempty\tfalse\n",
            "",
            "message StopContainerResponse: only in runtime.proto: empty",
        ),
        (
            "enum\tSecurityProfile.ProfileType\tLocalhost\t2\t",
            "enum\tSecurityProfile.ProfileType\tLocalhost\t3\t",
            "enum SecurityProfile.ProfileType.Localhost: number is 2 in runtime.proto, 3 in wire.tsv",
        ),
        (
            "StreamImagesRequest -> stream StreamImagesResponse\tserver_streaming",
            "StreamImagesRequest -> StreamImagesResponse\tserver_streaming",
            "rpc runtime.v1.ImageService.StreamImages: type is StreamImagesRequest -> stream StreamImagesResponse in runtime.proto, StreamImagesRequest -> StreamImagesResponse in wire.tsv",
        ),
        (
            "rpc\truntime.v1.RuntimeService\tStatus\t\tStatusRequest ->",
            "rpc\truntime.v1.RuntimeService\tStatus\t\tVersionRequest ->",
            "rpc runtime.v1.RuntimeService.Status: type is StatusRequest -> StatusResponse in runtime.proto, VersionRequest -> StatusResponse in wire.tsv",
        ),
        (
            "message\tVersionRequest\tversion\t1\tstring\t\tfalse\n",
            "message\tVersionRequest\tversion\t1\tstring\t\tfalse\nmessage\tVersionRequest\tversion\t1\tstring\t\tfalse\n",
            "message VersionRequest.version: twice in wire.tsv",
        ),
    ];
    for (row, altered, difference) in faults {
        assert_eq!(
            cri::WIRE_TABLE.matches(row).count(),
            1,
            "{row:?} names no single row"
        );
        let table = cri::WIRE_TABLE.replace(row, altered);
        assert_eq!(differences(&table, &descriptors()), [difference]);
    }
}

/// What the table has no column for is a difference as well.
#[test]
fn what_no_row_can_say_is_found() {
    let altered = |alter: fn(&mut FileDescriptorProto)| {
        let mut set = descriptors();
        alter(&mut set.file[0]);
        differences(cri::WIRE_TABLE, &set)
    };
    assert_eq!(altered(|_| ()), Vec::<String>::new());
    let package = altered(|file| file.package = Some("runtime.v2".to_owned()));
    assert_eq!(package[0], "the package is runtime.v2, not runtime.v1");
    assert_eq!(
        altered(|file| file.syntax = None),
        ["the syntax is proto2, not proto3"]
    );
    let optional = altered(|file| {
        let message = file
            .message_type
            .iter_mut()
            .find(|message| message.name() == "VersionRequest");
        message.unwrap().field[0].proto3_optional = Some(true);
    });
    assert_eq!(
        optional,
        ["message VersionRequest.version: label is \"optional\" in runtime.proto, \"\" in wire.tsv"]
    );
    let second = {
        let mut set = descriptors();
        set.file.push(FileDescriptorProto::default());
        differences(cri::WIRE_TABLE, &set)
    };
    assert_eq!(second, ["there are 2 files, not one"]);
}

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(cri::DESCRIPTORS).expect("the compiler wrote the descriptors")
}

/// Everything in which the table and the descriptors are not the same, one line each.
fn differences(table: &str, set: &FileDescriptorSet) -> Vec<String> {
    let (table, mut found) = parse(table);
    if set.file.len() != 1 {
        found.push(format!("there are {} files, not one", set.file.len()));
    }
    let Some(file) = set.file.first() else {
        return found;
    };
    if file.package() != PACKAGE {
        found.push(format!("the package is {}, not {PACKAGE}", file.package()));
    }
    if file.syntax() != "proto3" {
        found.push("the syntax is proto2, not proto3".to_owned());
    }
    let mut compiled = rows(file);
    for (key, expected) in table {
        let Some(actual) = compiled.remove(&key) else {
            found.push(format!(
                "{}: only in wire.tsv: {}",
                name(&key),
                summary(&expected)
            ));
            continue;
        };
        for (index, column) in ["number", "type", "label", "deprecated"].iter().enumerate() {
            let (actual, expected) = (&actual[index], &expected[index]);
            if actual == expected {
                continue;
            }
            // Quotes where the empty text is one of the values.
            found.push(if *column == "label" {
                format!(
                    "{}: label is {actual:?} in runtime.proto, {expected:?} in wire.tsv",
                    name(&key)
                )
            } else {
                format!(
                    "{}: {column} is {actual} in runtime.proto, {expected} in wire.tsv",
                    name(&key)
                )
            });
        }
    }
    for (key, actual) in compiled {
        found.push(format!(
            "{}: only in runtime.proto: {}",
            name(&key),
            summary(&actual)
        ));
    }
    found
}

fn name([kind, message, field]: &Key) -> String {
    if field.is_empty() {
        format!("{kind} {message}")
    } else {
        format!("{kind} {message}.{field}")
    }
}

fn summary([number, kind, label, _]: &Facts) -> String {
    [number, kind, label]
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The table's rows, and what is wrong with the table itself.
fn parse(text: &str) -> (Table, Vec<String>) {
    let mut table = Table::new();
    let mut faults = Vec::new();
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        faults.push("wire.tsv does not begin with its header".to_owned());
    }
    for (index, line) in lines.enumerate() {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let Ok([kind, message, field, number, value, label, deprecated]) = <[String; 7]>::try_from(columns)
        else {
            faults.push(format!(
                "line {} of wire.tsv does not have seven columns",
                index + 2
            ));
            continue;
        };
        let key = [kind, message, field];
        if table.contains_key(&key) {
            faults.push(format!("{}: twice in wire.tsv", name(&key)));
        }
        table.insert(key, [number, value, label, deprecated]);
    }
    (table, faults)
}
