//! libcni's record of an attachment, so that any runtime can undo what another has set up.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

use super::Fields;

/// The kind of every record since libcni 0.8.
const KIND: &str = "cniCacheV1";

/// What is known of an attachment: how it was made, and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    kind: String,
    /// The sandbox's id.
    pub container_id: String,
    /// The network's configuration, as one self-contained document.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub config: String,
    /// The name of the pod's interface.
    pub if_name: String,
    /// The network's name.
    pub network_name: String,
    /// The path of the pod's network namespace.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub netns: String,
    /// `CNI_ARGS`.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cni_args: Vec<[String; 2]>,
    /// Capability arguments.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub capability_args: Fields,
    /// The result of the `ADD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
}

/// A cache file's content.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A record.
    Record(Box<Record>),
    /// Nothing but the result, as libcni before 0.8 wrote it.
    Result(Box<RawValue>),
}

impl Record {
    /// A record of an attachment.
    pub fn new(
        network_name: &str,
        config: &str,
        attachment: &super::plan::Attachment,
        result: Box<RawValue>,
    ) -> Self {
        Self {
            kind: KIND.to_owned(),
            container_id: attachment.container_id.clone(),
            config: config.to_owned(),
            if_name: attachment.ifname.clone(),
            network_name: network_name.to_owned(),
            netns: attachment.netns.clone(),
            cni_args: attachment.args.clone(),
            capability_args: attachment.capabilities.clone(),
            result: Some(result),
        }
    }

    /// The file's content.
    pub fn to_json(&self) -> String {
        super::raw(self).get().to_owned()
    }
}

impl Entry {
    /// Reads a cache file. Unknown fields are tolerated.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind {
            kind: Option<String>,
        }
        match serde_json::from_str::<Kind>(text)?.kind.as_deref() {
            Some(KIND) => serde_json::from_str(text).map(Self::Record),
            Some(other) => Err(serde_json::Error::custom(format!(
                "kind: {other:?} is not {KIND:?}"
            ))),
            None => RawValue::from_string(text.to_owned()).map(Self::Result),
        }
    }

    /// The result of the `ADD`, if it is known.
    pub fn result(&self) -> Option<&RawValue> {
        match self {
            Self::Record(record) => record.result.as_deref(),
            Self::Result(result) => Some(result),
        }
    }
}

/// The name of an attachment's file in the cache's `results` directory.
pub fn file_name(network: &str, container_id: &str, ifname: &str) -> String {
    format!("{network}-{container_id}-{ifname}")
}

/// The network's name in the name of a file that is about this container and interface.
pub fn network_of<'a>(file_name: &'a str, container_id: &str, ifname: &str) -> Option<&'a str> {
    file_name
        .strip_suffix(ifname)?
        .strip_suffix('-')?
        .strip_suffix(container_id)?
        .strip_suffix('-')
        .filter(|network| !network.is_empty())
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn to_base64<S: Serializer>(config: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(config))
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text: String = or_default(from)?;
    let bytes = STANDARD
        .decode(&text)
        .map_err(|cause| D::Error::custom(format!("config: is not base64: {cause}")))?;
    String::from_utf8(bytes).map_err(|_| D::Error::custom("config: is not UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cni::{
        plan::{Attachment, PodName},
        raw,
    };

    /// As libcni 1.1 writes it: Go's order of fields, base64 with padding.
    const GOLDEN: &str = concat!(
        r#"{"kind":"cniCacheV1","containerId":"abc","config":"eyJuYW1lIjoicG9kcyJ9","ifName":"eth0","#,
        r#""networkName":"pods","netns":"/run/netns/x","cniArgs":[["IgnoreUnknown","1"],"#,
        r#"["K8S_POD_NAMESPACE","default"],["K8S_POD_NAME","web"],["K8S_POD_INFRA_CONTAINER_ID","abc"],"#,
        r#"["K8S_POD_UID","u"]],"capabilityArgs":{"portMappings":[]},"#,
        r#""result":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}}"#
    );

    #[test]
    fn records_are_written_as_libcni_writes_them() {
        let pod = PodName {
            namespace: "default",
            name: "web",
            uid: "u",
            sandbox_id: "abc",
        };
        let capabilities = Fields::from([("portMappings".to_owned(), raw::<[u8; 0]>(&[]))]);
        let attachment = Attachment::new(pod, "/run/netns/x", "eth0", capabilities).unwrap();
        let result = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}"#;
        let result = RawValue::from_string(result.to_owned()).unwrap();
        let record = Record::new("pods", r#"{"name":"pods"}"#, &attachment, result);
        assert_eq!(record.to_json(), GOLDEN);
        let Entry::Record(read) = Entry::parse(GOLDEN).unwrap() else {
            panic!("not read as a record")
        };
        assert_eq!(read.to_json(), GOLDEN);
        assert_eq!(read.config, r#"{"name":"pods"}"#);
    }

    #[test]
    fn records_of_others_are_read() {
        let minimal = r#"{"kind":"cniCacheV1","containerId":"a","config":null,"ifName":"eth0","networkName":"n","cniArgs":null,"later":{"x":1}}"#;
        let Entry::Record(record) = Entry::parse(minimal).unwrap() else {
            panic!("not read as a record")
        };
        assert_eq!((record.config.as_str(), record.netns.as_str()), ("", ""));
        assert!(record.cni_args.is_empty() && record.result.is_none());

        let legacy = r#"{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.0.0.2/24"}]}"#;
        assert_eq!(Entry::parse(legacy).unwrap().result().unwrap().get(), legacy);
    }

    #[test]
    fn what_is_no_record_is_told() {
        for (text, expected) in [
            ("", "EOF"),
            ("[]x", ""),
            (
                r#"{"kind":"cniCacheV2"}"#,
                "kind: \"cniCacheV2\" is not \"cniCacheV1\"",
            ),
            (r#"{"kind":"cniCacheV1"}"#, "missing field `containerId`"),
            (
                r#"{"kind":"cniCacheV1","containerId":"a","config":"%","ifName":"e","networkName":"n"}"#,
                "config: is not base64",
            ),
        ] {
            let error = Entry::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn file_names_are_read_back() {
        let name = file_name("my-net", "abc", "eth0");
        assert_eq!(name, "my-net-abc-eth0");
        assert_eq!(network_of(&name, "abc", "eth0"), Some("my-net"));
        assert_eq!(network_of(&name, "bc", "eth0"), None);
        assert_eq!(network_of(&name, "abc", "eth1"), None);
        assert_eq!(network_of("-abc-eth0", "abc", "eth0"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", kind in "\"cniCacheV1\"|1|null") {
            let _ = Entry::parse(&text);
            let _ = Entry::parse(&format!(r#"{{"kind":{kind},"config":"{text}"}}"#));
            let _ = network_of(&text, "a", "b");
        }
    }
}
