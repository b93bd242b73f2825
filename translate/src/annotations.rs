//! Annotations that reach the OCI runtime.
//!
//! A runtime acts on some annotations of a container (`org.systemd.property.*` and `org.criu.config` change
//! the node), so a pod's own are never passed on to runc. Runtimes that put a pod into a machine of its own
//! are configured by them, and check by lists of their own which ones a pod may set.

use std::collections::{BTreeMap, HashMap};

use crate::facts::{ApiVersion, EngineFacts};

/// What the names begin with that Kata Containers and gVisor read.
const ALLOWED: [&str; 2] = ["io.katacontainers.", "dev.gvisor."];

/// `HostConfig.Annotations` out of a pod's and a container's annotations, the later winning, and what of
/// them cannot be passed on. `runtime` is the OCI runtime that the pod names; the Engine's default gets
/// none.
pub(crate) fn to_runtime(
    given: &[&BTreeMap<String, String>],
    runtime: Option<&str>,
    facts: &EngineFacts,
) -> (HashMap<String, String>, Option<String>) {
    let Some(runtime) = runtime else {
        return Default::default();
    };
    let allowed = |key: &String| ALLOWED.iter().any(|prefix| key.starts_with(prefix));
    let annotations: HashMap<_, _> = given
        .iter()
        .flat_map(|given| given.iter())
        .filter(|(key, _)| allowed(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if annotations.is_empty() || facts.api >= ApiVersion::V1_43 {
        return (annotations, None);
    }
    let mut names: Vec<_> = annotations.keys().map(String::as_str).collect();
    names.sort_unstable();
    let caveat = format!(
        "annotations {}: not passed on to the runtime {runtime:?}, which needs engine API {}",
        names.join(", "),
        ApiVersion::V1_43
    );
    (HashMap::new(), Some(caveat))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::tests::facts;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn only_what_sandboxing_runtimes_read_is_passed_on_and_only_to_them() {
        let pod = map(&[
            ("io.katacontainers.config.hypervisor.default_vcpus", "2"),
            ("org.systemd.property.MemoryMax", "'infinity'"),
            ("io.katacontainersX", "no"),
            ("dev.gvisor.spec.mount.data.type", "bind"),
        ]);
        let container = map(&[("dev.gvisor.spec.mount.data.type", "tmpfs"), ("a", "b")]);
        let (passed, caveat) = to_runtime(&[&pod, &container], Some("kata"), &facts());
        let expected = [
            ("io.katacontainers.config.hypervisor.default_vcpus", "2"),
            ("dev.gvisor.spec.mount.data.type", "tmpfs"),
        ];
        assert_eq!(passed, map(&expected).into_iter().collect());
        assert_eq!(caveat, None);
        assert_eq!(to_runtime(&[&pod], None, &facts()), Default::default());

        let mut old = facts();
        old.api = ApiVersion::FLOOR;
        let (passed, caveat) = to_runtime(&[&pod], Some("kata"), &old);
        assert!(passed.is_empty());
        assert!(caveat.is_some_and(|text| text.contains("dev.gvisor.spec") && text.contains("1.43")));
    }
}
