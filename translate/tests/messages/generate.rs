//! Random CRI messages of any type, made from the descriptors, so that no field is forgotten.
//!
//! A message is built as bytes on the wire and then decoded, which is how a server meets it.

use std::{collections::BTreeMap, fmt::Debug, sync::LazyLock};

use proptest::{collection::vec, prelude::*};
use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// How far the values stray from what a kubelet sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Every value is one that its field may have.
    Plausible,
    /// One value in sixteen is anything.
    Mixed,
    /// Every value is anything.
    Wild,
}

/// Every message of CRI by its full name, nested ones included.
static MESSAGES: LazyLock<BTreeMap<String, DescriptorProto>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(cri::DESCRIPTORS).unwrap();
    let mut messages = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            let name = format!(".{}.{}", file.package(), message.name());
            for nested in &message.nested_type {
                messages.insert(format!("{name}.{}", nested.name()), nested.clone());
            }
            messages.insert(name, message.clone());
        }
    }
    messages
});

fn descriptor(name: &str) -> &'static DescriptorProto {
    &MESSAGES[name]
}

/// A random message of type `T`, which CRI calls `name`.
pub(crate) fn message<T: Message + Default + Debug>(
    name: &str,
    manner: Manner,
) -> impl Strategy<Value = T> + use<T> {
    bytes_of(&format!(".runtime.v1.{name}"), manner).prop_map(|bytes| T::decode(&*bytes).unwrap())
}

/// Whatever a random string of bytes decodes to as a `T`, which mostly is little.
pub(crate) fn decoded<T: Message + Default + Debug>() -> impl Strategy<Value = T> {
    vec(any::<u8>(), 0..64).prop_map(|bytes| T::decode(&*bytes).unwrap_or_default())
}

fn bytes_of(name: &str, manner: Manner) -> BoxedStrategy<Vec<u8>> {
    let fields: Vec<_> = descriptor(name)
        .field
        .iter()
        .map(|field| field_bytes(name, field, manner))
        .collect();
    fields.prop_map(|parts| parts.concat()).boxed()
}

/// A field with its tag, no times, once, or several times where it is a list.
fn field_bytes(message: &str, field: &FieldDescriptorProto, manner: Manner) -> BoxedStrategy<Vec<u8>> {
    let number = u64::try_from(field.number()).unwrap();
    let value = value_bytes(message, field, manner);
    let tagged = move |value: Vec<u8>, wire_type: u64| {
        let mut out = varint(number << 3 | wire_type);
        out.extend(value);
        out
    };
    let wire_type = match field.r#type() {
        Type::String | Type::Bytes | Type::Message => 2,
        Type::Double => 1,
        _ => 0,
    };
    let one = value.prop_map(move |value| tagged(value, wire_type)).boxed();
    let items = |items: Vec<Vec<u8>>| items.concat();
    match presence(message, field.name(), manner) {
        Presence::Never => Just(Vec::new()).boxed(),
        _ if field.label() == Label::Repeated => vec(one, 0..3).prop_map(items).boxed(),
        Presence::Always => one,
        Presence::Seldom => prop_oneof![9 => Just(Vec::new()), 1 => one].boxed(),
        Presence::Mostly => prop_oneof![1 => Just(Vec::new()), 3 => one].boxed(),
    }
}

enum Presence {
    Never,
    Seldom,
    Mostly,
    Always,
}

/// How often a field is there. Some never are in a plausible request: no Engine can honour them.
fn presence(message: &str, field: &str, manner: Manner) -> Presence {
    let message = message.strip_prefix(".runtime.v1.").unwrap_or(message);
    match (message, field) {
        _ if manner != Manner::Plausible => Presence::Mostly,
        ("Mount", "image" | "uidMappings" | "gidMappings" | "mount_options")
        | ("UserNamespace", "uids" | "gids")
        | ("Capability", "add_ambient_capabilities")
        | (_, "apparmor") => Presence::Never,
        (_, "config" | "metadata" | "run_as_user" | "name" | "uid" | "namespace")
        | (_, "mode" | "image" | "sandbox_config" | "key")
        | ("Mount" | "Device", _)
        | ("PortMapping", "container_port")
        | ("HugepageLimit", _) => Presence::Always,
        // These ask for the same of the sandbox, or of the host.
        (_, "privileged") => Presence::Seldom,
        _ => Presence::Mostly,
    }
}

fn value_bytes(message: &str, field: &FieldDescriptorProto, manner: Manner) -> BoxedStrategy<Vec<u8>> {
    let mixed = |plausible: BoxedStrategy<Vec<u8>>, wild: BoxedStrategy<Vec<u8>>| match manner {
        Manner::Plausible => plausible,
        Manner::Mixed => prop_oneof![15 => plausible, 1 => wild].boxed(),
        Manner::Wild => wild,
    };
    match field.r#type() {
        Type::Message => bytes_of(field.type_name(), manner)
            .prop_map(|bytes| with_length(&bytes))
            .boxed(),
        Type::String => {
            let text = |text: BoxedStrategy<String>| text.prop_map(|t| with_length(t.as_bytes())).boxed();
            mixed(text(plausible_text(message, field.name())), text(odd_text()))
        }
        Type::Bytes => {
            let bytes = |b: BoxedStrategy<Vec<u8>>| b.prop_map(|b| with_length(&b)).boxed();
            mixed(
                bytes("[a-z=]{0,8}".prop_map(String::into_bytes).boxed()),
                bytes(vec(any::<u8>(), 0..9).boxed()),
            )
        }
        // No runtime here can do it.
        Type::Bool if field.name() == "recursive_read_only" && manner == Manner::Plausible => {
            Just(vec![0]).boxed()
        }
        Type::Bool => any::<bool>().prop_map(|b| vec![b.into()]).boxed(),
        Type::Double => any::<[u8; 8]>().prop_map(Vec::from).boxed(),
        Type::Enum => {
            let number = |n: BoxedStrategy<i64>| n.prop_map(|n| varint(n.cast_unsigned())).boxed();
            mixed(number(plausible_enum(field.name())), number(odd_enum()))
        }
        _ => {
            let number = |n: BoxedStrategy<i64>| n.prop_map(|n| varint(n.cast_unsigned())).boxed();
            mixed(
                number(plausible_number(message, field.name())),
                number(odd_number()),
            )
        }
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::try_from(bytes.len()).unwrap());
    out.extend(bytes);
    out
}

fn odd_number() -> BoxedStrategy<i64> {
    prop_oneof![
        any::<i64>(),
        -3..70_000_i64,
        Just(i64::MIN),
        Just(i64::MAX),
        Just(i32::MAX.into()),
        Just(i32::MIN.into()),
    ]
    .boxed()
}

fn odd_enum() -> BoxedStrategy<i64> {
    prop_oneof![-2..70_i64, any::<i32>().prop_map(i64::from)].boxed()
}

fn odd_text() -> BoxedStrategy<String> {
    prop_oneof![
        any::<String>(),
        "[a-z/.:=_-]{0,12}",
        Just(String::new()),
        Just("..".to_owned()),
        Just("/..".to_owned()),
        Just("/a/../../b".to_owned()),
        Just("a\0b".to_owned()),
        Just("/a\nb".to_owned()),
        Just("é/ü".to_owned()),
        Just("localhost/".to_owned()),
        Just("x".repeat(5000)),
    ]
    .boxed()
}

fn plausible_enum(field: &str) -> BoxedStrategy<i64> {
    match field {
        "mode" => Just(2).boxed(),
        "network" | "ipc" => prop_oneof![4 => Just(0), 1 => Just(2)].boxed(),
        // RuntimeDefault or Unconfined.
        "profile_type" | "state" => (0..2_i64).boxed(),
        "supplemental_groups_policy" => Just(0).boxed(),
        "stop_signal" => (0..66_i64).boxed(),
        _ => (0..3_i64).boxed(),
    }
}

fn plausible_number(message: &str, field: &str) -> BoxedStrategy<i64> {
    match field {
        "cpu_period" => (1_000..1_000_000_i64).boxed(),
        "memory_limit_in_bytes" => prop_oneof![Just(1 << 20), Just(1 << 27)].boxed(),
        "memory_swap_limit_in_bytes" => prop_oneof![Just(0), Just(-1)].boxed(),
        "oom_score_adj" => (-1000..1001_i64).boxed(),
        _ if message.ends_with(".IDMapping") => Just(0).boxed(),
        _ => (1..60_000_i64).boxed(),
    }
}

/// A text that fits the field it is for; fields that only one answer fits are told apart by message.
fn plausible_text(message: &str, field: &str) -> BoxedStrategy<String> {
    let message = message.strip_prefix(".runtime.v1.").unwrap_or(message);
    match (message, field) {
        ("Mount", "container_path") => "/data/[a-z]{1,12}".boxed(),
        ("Mount", "mount_options") | ("SecurityProfile", "localhost_ref") => Just(String::new()).boxed(),
        ("Mount", "image_sub_path") => prop_oneof![Just(""), Just("below")].prop_map_into().boxed(),
        ("Mount" | "Device", "host_path") | ("Device", "container_path") => "/dev/[a-z]{1,3}".boxed(),
        ("Device", "permissions") => prop_oneof![Just("rwm"), Just("")].prop_map_into().boxed(),
        ("CDIDevice", "name") => "v[.]com/gpu=[0-9]".boxed(),
        ("PortMapping", "host_ip") => prop_oneof![Just(""), Just("127.0.0.1"), Just("::1")]
            .prop_map_into()
            .boxed(),
        ("LinuxPodSandboxConfig", "cgroup_parent") => "/kubepods/pod[0-9]{1,3}".boxed(),
        ("LinuxPodSandboxConfig.SysctlsEntry", "key") => "kernel[.]shm[a-z]{1,3}".boxed(),
        ("LinuxContainerResources.UnifiedEntry", "key") => "memory[.][a-z]{1,4}".boxed(),
        ("HugepageLimit", "page_size") => Just("2MB".to_owned()).boxed(),
        ("LinuxContainerResources", _) => prop_oneof![Just(""), Just("0-3,8")].prop_map_into().boxed(),
        ("PodSandboxConfig", "log_directory") => "/var/log/[a-z]{1,4}".boxed(),
        ("ContainerConfig", "working_dir") => prop_oneof![Just(""), Just("/srv")].prop_map_into().boxed(),
        (_, "masked_paths" | "readonly_paths") => "/proc/[a-z]{1,3}".boxed(),
        (_, "add_ambient_capabilities" | "apparmor_profile" | "seccomp_profile_path") => {
            Just(String::new()).boxed()
        }
        ("SELinuxOption", "level") => Just("s0:c1,c2".to_owned()).boxed(),
        _ => "[a-z][a-z0-9]{0,7}".boxed(),
    }
}

/// Whether `path` names a field of the message `name`, as `config.envs[3].key` names one of
/// CreateContainerRequest. What follows the key of a map is not looked at: it may be any text.
pub(crate) fn is_field(name: &str, path: &str) -> bool {
    let message = descriptor(&format!(".runtime.v1.{name}"));
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (head, rest) = path.split_at(end);
    let Some(field) = message.field.iter().find(|field| field.name() == head) else {
        return false;
    };
    let inner = field.type_name().trim_start_matches(".runtime.v1.");
    let is_map = field.r#type() == Type::Message
        && descriptor(field.type_name())
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry());
    let rest = match rest.strip_prefix('[') {
        Some(_) if is_map => return true,
        Some(indexed) => {
            let Some((index, rest)) = indexed.split_once(']') else {
                return false;
            };
            if field.label() != Label::Repeated || index.parse::<usize>().is_err() {
                return false;
            }
            rest
        }
        None => rest,
    };
    match rest.strip_prefix('.') {
        Some(rest) => field.r#type() == Type::Message && is_field(inner, rest),
        None => rest.is_empty(),
    }
}

#[test]
fn only_paths_of_fields_are_fields() {
    for path in [
        "config",
        "config.envs[3].key",
        "config.CDI_devices[0].name",
        "config.mounts[1].uidMappings",
        "config.linux.resources.unified[a.b]",
        "sandbox_config.linux.cgroup_parent",
    ] {
        assert!(is_field("CreateContainerRequest", path), "{path}");
    }
    for path in [
        "",
        "runtime_handler",
        "config.env[3].key",
        "config.envs[x].key",
        "config.envs[3].keys",
        "config.tty[0]",
        "config.tty.x",
        "config.linux.",
    ] {
        assert!(!is_field("CreateContainerRequest", path), "{path}");
    }
}
