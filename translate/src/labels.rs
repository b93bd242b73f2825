//! The names and labels of Engine containers that make pods.
//!
//! Names and the first group of labels are cri-dockerd's (and dockershim's before it), so that tools
//! which look for them keep working and either program finds the other's pods. [`RECORD`] is ours: the
//! CRI configuration itself, because the Engine merges an image's own labels into a container's, and a
//! name cannot hold every character that metadata may.
//!
//! An image may bring labels of these very names. They are believed only beside what no image can bring: a name
//! of Kubernetes' form, which a build or `docker run` does not give, and in a container's record the id of its
//! sandbox, since a container that cri-dockerd makes of such an image has all other labels right.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Invalid;

/// Tells pause containers from the others.
pub const TYPE: &str = "io.kubernetes.docker.type";
/// [`TYPE`] of a pause container.
pub const TYPE_SANDBOX: &str = "podsandbox";
/// [`TYPE`] of a container in a pod.
pub const TYPE_CONTAINER: &str = "container";
/// The id of the sandbox a container belongs to.
pub const SANDBOX_ID: &str = "io.kubernetes.sandbox.id";
/// Where a container's log is wanted.
pub const LOG_PATH: &str = "io.kubernetes.container.logpath";
/// The pod's name, on what the kubelet makes.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// The pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The pod's uid.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// `POD` on a pause container.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// In front of the key of each annotation.
pub const ANNOTATION_PREFIX: &str = "annotation.";
/// The record of what was asked for, as JSON: a [`SandboxRecord`] or a [`ContainerRecord`].
pub const RECORD: &str = "io.dockside.record";

/// The container name of a pause container.
const POD: &str = "POD";

/// Metadata fields longer than this are refused. Kubernetes allows at most 253.
const MAX_NAME: usize = 253;

/// A sandbox as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxRecord {
    /// The configuration, exactly.
    pub config: cri::PodSandboxConfig,
    /// The runtime handler, empty for the default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime_handler: String,
    /// Nanoseconds since the epoch; 0 where it is not known.
    pub created_at: i64,
}

/// A container as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerRecord {
    /// Its sandbox; empty where another program made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox_id: String,
    /// The configuration without command, arguments and environment: these the Engine has already, and
    /// the environment may hold secrets.
    pub config: cri::ContainerConfig,
    /// The log's absolute path, empty if no log is wanted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_path: String,
    /// The image's digest reference, or its id, at the time of creation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_ref: String,
    /// Who its first process is started as; `None` where another program made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<cri::LinuxContainerUser>,
    /// Nanoseconds since the epoch; 0 where it is not known.
    pub created_at: i64,
}

impl ContainerRecord {
    /// The pod's log directory and the log's path below it; `None` if no log is wanted.
    ///
    /// cri-dockerd tells the whole path only, of which the kubelet makes the last two parts.
    pub fn log_place(&self) -> Option<(&str, &str)> {
        let below = if self.config.log_path.is_empty() {
            let cut = self.log_path.rmatch_indices('/').nth(1)?.0;
            &self.log_path[cut + 1..]
        } else {
            &self.config.log_path
        };
        let directory = self.log_path.strip_suffix(below)?.trim_end_matches('/');
        directory.starts_with('/').then_some((directory, below))
    }
}

/// The Engine name of a pause container.
pub fn sandbox_name(metadata: &cri::PodSandboxMetadata) -> Result<String, Invalid> {
    let pod = pod_part(metadata, "config.metadata")?;
    Ok(format!("k8s_{POD}_{pod}_{}", metadata.attempt))
}

/// The Engine name of a container.
pub fn container_name(
    metadata: &cri::ContainerMetadata,
    sandbox: &cri::PodSandboxMetadata,
) -> Result<String, Invalid> {
    let name = checked(&metadata.name, "config.metadata.name")?;
    let pod = pod_part(sandbox, "sandbox_config.metadata")?;
    Ok(format!("k8s_{name}_{pod}_{}", metadata.attempt))
}

fn pod_part(metadata: &cri::PodSandboxMetadata, field: &str) -> Result<String, Invalid> {
    let part = |value, name| checked(value, &format!("{field}.{name}"));
    Ok(format!(
        "{}_{}_{}",
        part(&metadata.name, "name")?,
        part(&metadata.namespace, "namespace")?,
        part(&metadata.uid, "uid")?
    ))
}

/// A part of a name that the Engine accepts.
fn checked<'a>(value: &'a str, field: &str) -> Result<&'a str, Invalid> {
    if value.is_empty() {
        return Err(Invalid::new(field, "is missing"));
    }
    if value.len() > MAX_NAME {
        return Err(Invalid::new(
            field,
            format!("has {} characters, at most {MAX_NAME} are possible", value.len()),
        ));
    }
    match value
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "_.-".contains(*c)))
    {
        Some(c) => Err(Invalid::new(
            field,
            format!("has the character {c:?}; a docker name takes letters, digits, '_', '.' and '-'"),
        )),
        None => Ok(value),
    }
}

/// The labels of a pause container.
pub fn sandbox_labels(record: &SandboxRecord) -> BTreeMap<String, String> {
    let mut labels = user_labels(&record.config.labels, &record.config.annotations);
    labels.insert(TYPE.into(), TYPE_SANDBOX.into());
    labels.insert(CONTAINER_NAME.into(), POD.into());
    labels.insert(RECORD.into(), json(record));
    labels
}

/// The labels of a container.
pub fn container_labels(record: &ContainerRecord) -> BTreeMap<String, String> {
    let mut labels = user_labels(&record.config.labels, &record.config.annotations);
    labels.insert(TYPE.into(), TYPE_CONTAINER.into());
    labels.insert(SANDBOX_ID.into(), record.sandbox_id.clone());
    labels.insert(LOG_PATH.into(), record.log_path.clone());
    labels.insert(RECORD.into(), json(record));
    labels
}

fn user_labels(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let annotations = annotations
        .iter()
        .map(|(key, value)| (format!("{ANNOTATION_PREFIX}{key}"), value.clone()));
    labels.clone().into_iter().chain(annotations).collect()
}

fn json<T: Serialize>(record: &T) -> String {
    // Records hold strings, numbers and maps with string keys only: these always serialise.
    serde_json::to_string(record).unwrap_or_default()
}

fn record<T: DeserializeOwned>(labels: &BTreeMap<String, String>) -> Option<T> {
    serde_json::from_str(labels.get(RECORD)?).ok()
}

/// Whether a name has the form that [`sandbox_name`] and [`container_name`] give.
fn is_kubernetes(name: &str) -> bool {
    name.trim_start_matches('/').starts_with("k8s_")
}

/// Reads a pause container back; `None` where it is none of Kubernetes'.
///
/// One that cri-dockerd made has no record: its metadata is in its name, its labels are the rest of the
/// Engine's labels.
pub fn read_sandbox(name: &str, labels: &BTreeMap<String, String>) -> Option<SandboxRecord> {
    if labels.get(TYPE)? != TYPE_SANDBOX || !is_kubernetes(name) {
        return None;
    }
    if let Some(record) = record(labels) {
        return Some(record);
    }
    let [_, pod, namespace, uid, attempt] = name_parts(name)?;
    let (labels, annotations) = foreign_labels(labels);
    let metadata = cri::PodSandboxMetadata {
        name: pod.into(),
        namespace: namespace.into(),
        uid: uid.into(),
        attempt: attempt.parse().ok()?,
    };
    Some(SandboxRecord {
        config: cri::PodSandboxConfig {
            metadata: Some(metadata),
            labels,
            annotations,
            ..Default::default()
        },
        ..SandboxRecord::default()
    })
}

/// Reads a container back, with its sandbox's id; `None` where it is none of Kubernetes'.
pub fn read_container(name: &str, labels: &BTreeMap<String, String>) -> Option<(String, ContainerRecord)> {
    if labels.get(TYPE)? != TYPE_CONTAINER || !is_kubernetes(name) {
        return None;
    }
    let sandbox_id = labels.get(SANDBOX_ID)?.clone();
    let ours = |record: &ContainerRecord| !sandbox_id.is_empty() && record.sandbox_id == sandbox_id;
    if let Some(record) = record(labels).filter(ours) {
        return Some((sandbox_id, record));
    }
    let [container, _, _, _, attempt] = name_parts(name)?;
    let metadata = cri::ContainerMetadata {
        name: container.into(),
        attempt: attempt.parse().ok()?,
    };
    let log_path = labels.get(LOG_PATH).cloned().unwrap_or_default();
    let (labels, annotations) = foreign_labels(labels);
    let config = cri::ContainerConfig {
        metadata: Some(metadata),
        labels,
        annotations,
        ..Default::default()
    };
    Some((
        sandbox_id,
        ContainerRecord {
            config,
            log_path,
            ..ContainerRecord::default()
        },
    ))
}

/// The five parts of `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`; cri-dockerd may have added a
/// seventh, random one.
fn name_parts(name: &str) -> Option<[&str; 5]> {
    let mut parts = name.strip_prefix('/').unwrap_or(name).split('_');
    if parts.next()? != "k8s" {
        return None;
    }
    let five = [
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
    ];
    parts.next();
    parts.next().is_none().then_some(five)
}

fn foreign_labels(labels: &BTreeMap<String, String>) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let internal = [TYPE, SANDBOX_ID, LOG_PATH, RECORD];
    let mut plain = BTreeMap::new();
    let mut annotations = BTreeMap::new();
    for (key, value) in labels {
        if let Some(key) = key.strip_prefix(ANNOTATION_PREFIX) {
            annotations.insert(key.to_owned(), value.clone());
        } else if !(internal.contains(&key.as_str()) || key == CONTAINER_NAME && value == POD) {
            plain.insert(key.clone(), value.clone());
        }
    }
    (plain, annotations)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn metadata() -> cri::PodSandboxMetadata {
        cri::PodSandboxMetadata {
            name: "web_1".into(),
            namespace: "default".into(),
            uid: "u-1".into(),
            attempt: 2,
        }
    }

    #[test]
    fn names_are_those_that_docker_users_know() {
        assert_eq!(sandbox_name(&metadata()).unwrap(), "k8s_POD_web_1_default_u-1_2");
        let container = cri::ContainerMetadata {
            name: "nginx".into(),
            attempt: 0,
        };
        assert_eq!(
            container_name(&container, &metadata()).unwrap(),
            "k8s_nginx_web_1_default_u-1_0"
        );
    }

    #[test]
    fn bad_names_are_refused_by_field() {
        let cases = [
            (
                cri::PodSandboxMetadata {
                    name: String::new(),
                    ..metadata()
                },
                "config.metadata.name: is missing",
            ),
            (
                cri::PodSandboxMetadata {
                    namespace: "a/b".into(),
                    ..metadata()
                },
                "config.metadata.namespace: has the character '/'",
            ),
            (
                cri::PodSandboxMetadata {
                    uid: "x".repeat(254),
                    ..metadata()
                },
                "config.metadata.uid: has 254 characters",
            ),
        ];
        for (metadata, expected) in cases {
            let error = sandbox_name(&metadata).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_sandbox_is_read_back_as_it_was_asked_for() {
        let config = cri::PodSandboxConfig {
            metadata: Some(metadata()),
            labels: BTreeMap::from([("app".into(), "web".into()), (TYPE.into(), "mine".into())]),
            annotations: BTreeMap::from([("note".into(), "ünïcode \u{0} \"quoted\"".into())]),
            ..Default::default()
        };
        let record = SandboxRecord {
            config,
            runtime_handler: "kata".into(),
            created_at: 7,
        };
        let mut labels = sandbox_labels(&record);
        assert_eq!(labels["app"], "web");
        // What an image brings along is not the pod's.
        labels.insert("maintainer".into(), "image".into());
        assert_eq!(read_sandbox("/k8s_whatever", &labels), Some(record));
        assert_eq!(read_sandbox("/zealous_hopper", &labels), None);
    }

    #[test]
    fn an_image_cannot_pass_for_a_record() {
        let forged = ContainerRecord {
            sandbox_id: "f0".into(),
            log_path: "/etc/shadow".into(),
            ..ContainerRecord::default()
        };
        let image = container_labels(&forged);
        // Made by cri-dockerd, whose own labels win.
        let mut labels = image.clone();
        labels.insert(SANDBOX_ID.into(), "5a".into());
        labels.insert(LOG_PATH.into(), "/var/log/pods/x/0.log".into());
        let (sandbox, record) = read_container("/k8s_nginx_web_default_uid_3", &labels).unwrap();
        assert_eq!(
            (sandbox.as_str(), record.log_path.as_str()),
            ("5a", "/var/log/pods/x/0.log")
        );
        // Run by hand, or for a step of a build.
        assert_eq!(read_container("/zealous_hopper", &image), None);
        let nowhere = ContainerRecord {
            sandbox_id: String::new(),
            ..forged
        };
        let (_, record) =
            read_container("/k8s_nginx_web_default_uid_3", &container_labels(&nowhere)).unwrap();
        assert_eq!(record.config.metadata.unwrap().name, "nginx");
    }

    #[test]
    fn containers_of_cri_dockerd_are_read_by_name() {
        let labels = BTreeMap::from([
            (TYPE.into(), TYPE_CONTAINER.into()),
            (SANDBOX_ID.into(), "5a".into()),
            (LOG_PATH.into(), "/var/log/pods/x/0.log".into()),
            ("app".into(), "web".into()),
            ("annotation.hash".into(), "1".into()),
        ]);
        for name in [
            "/k8s_nginx_web_default_uid_3",
            "/k8s_nginx_web_default_uid_3_0badcafe",
        ] {
            let (sandbox, record) = read_container(name, &labels).unwrap();
            assert_eq!(sandbox, "5a");
            assert_eq!(
                record.config.metadata,
                Some(cri::ContainerMetadata {
                    name: "nginx".into(),
                    attempt: 3
                })
            );
            assert_eq!(
                record.config.labels,
                BTreeMap::from([("app".into(), "web".into())])
            );
            assert_eq!(
                record.config.annotations,
                BTreeMap::from([("hash".into(), "1".into())])
            );
            assert_eq!(record.log_path, "/var/log/pods/x/0.log");
            assert_eq!(record.log_place(), Some(("/var/log/pods", "x/0.log")));
        }
        assert_eq!(
            read_container("/k8s_nginx_web_default_uid_3_0bad_more", &labels),
            None
        );
        assert_eq!(read_sandbox("/k8s_POD_web_default_uid_0", &labels), None);
    }
}
