//! Compiled descriptors as rows of the wire table.

use std::collections::BTreeMap;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

pub(crate) const PACKAGE: &str = "runtime.v1";

/// What a row is about: kind, message (or enum, or service), field (or value, or RPC).
pub(crate) type Key = [String; 3];
/// What the row says of it: number, type, label, deprecated.
pub(crate) type Facts = [String; 4];
pub(crate) type Table = BTreeMap<Key, Facts>;

/// The descriptors as rows of the table.
pub(crate) fn rows(file: &FileDescriptorProto) -> Table {
    let mut table = Table::new();
    for service in &file.service {
        service_rows(service, &mut table);
    }
    for message in &file.message_type {
        message_rows("", message, &mut table);
    }
    for declared in &file.enum_type {
        enum_rows("", declared, &mut table);
    }
    table
}

fn service_rows(service: &ServiceDescriptorProto, table: &mut Table) {
    for method in &service.method {
        let deprecated = method
            .options
            .as_ref()
            .is_some_and(|options| options.deprecated());
        table.insert(
            [
                "rpc".to_owned(),
                format!("{PACKAGE}.{}", service.name()),
                method.name().to_owned(),
            ],
            [
                String::new(),
                signature(method),
                streaming(method).to_owned(),
                deprecated.to_string(),
            ],
        );
    }
}

fn signature(method: &MethodDescriptorProto) -> String {
    let stream = |streaming| if streaming { "stream " } else { "" };
    format!(
        "{}{} -> {}{}",
        stream(method.client_streaming()),
        local(method.input_type()),
        stream(method.server_streaming()),
        local(method.output_type()),
    )
}

fn streaming(method: &MethodDescriptorProto) -> &'static str {
    match (method.client_streaming(), method.server_streaming()) {
        (false, false) => "unary",
        (false, true) => "server_streaming",
        (true, false) => "client_streaming",
        (true, true) => "bidi_streaming",
    }
}

fn message_rows(outer: &str, message: &DescriptorProto, table: &mut Table) {
    let path = format!("{outer}{}", message.name());
    if message.field.is_empty() {
        table.insert(
            ["message".to_owned(), path.clone(), String::new()],
            [
                String::new(),
                String::new(),
                "empty".to_owned(),
                "false".to_owned(),
            ],
        );
    }
    for field in &message.field {
        let entry = map_entry(message, field);
        let deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
        table.insert(
            ["message".to_owned(), path.clone(), field.name().to_owned()],
            [
                field.number().to_string(),
                entry.map_or_else(|| type_name(field), map_type),
                label(field, entry.is_some()).to_owned(),
                deprecated.to_string(),
            ],
        );
    }
    let outer = format!("{path}.");
    for nested in message.nested_type.iter().filter(|nested| !is_map_entry(nested)) {
        message_rows(&outer, nested, table);
    }
    for declared in &message.enum_type {
        enum_rows(&outer, declared, table);
    }
}

fn enum_rows(outer: &str, declared: &EnumDescriptorProto, table: &mut Table) {
    for value in &declared.value {
        let deprecated = value.options.as_ref().is_some_and(|options| options.deprecated());
        table.insert(
            [
                "enum".to_owned(),
                format!("{outer}{}", declared.name()),
                value.name().to_owned(),
            ],
            [
                value.number().to_string(),
                "enum_value".to_owned(),
                String::new(),
                deprecated.to_string(),
            ],
        );
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message
        .options
        .as_ref()
        .is_some_and(|options| options.map_entry())
}

/// A map is compiled to a repeated field of a nested message made for it.
fn map_entry<'a>(message: &'a DescriptorProto, field: &FieldDescriptorProto) -> Option<&'a DescriptorProto> {
    message.nested_type.iter().find(|nested| {
        is_map_entry(nested)
            && local(field.type_name()).ends_with(&format!("{}.{}", message.name(), nested.name()))
    })
}

fn map_type(entry: &DescriptorProto) -> String {
    let types: Vec<_> = entry.field.iter().map(type_name).collect();
    format!("map<{}>", types.join(","))
}

fn label(field: &FieldDescriptorProto, map: bool) -> &'static str {
    if map {
        "map"
    } else if field.proto3_optional() {
        "optional"
    } else if field.oneof_index.is_some() {
        "oneof"
    } else {
        match field.label() {
            Label::Repeated => "repeated",
            Label::Required => "required",
            Label::Optional => "",
        }
    }
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => local(field.type_name()).to_owned(),
        Type::Group => "group".to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

/// A type's name without the package; a name from elsewhere stays whole, and so differs.
fn local(path: &str) -> &str {
    path.strip_prefix('.')
        .and_then(|path| path.strip_prefix(PACKAGE))
        .and_then(|path| path.strip_prefix('.'))
        .unwrap_or(path)
}
