//! The filters of CRI's lists.

use std::collections::BTreeMap;

/// Whether a listed sandbox is wanted. Ids match by their beginning, as they did in dockershim.
pub fn sandbox(item: &cri::PodSandbox, filter: &cri::PodSandboxFilter) -> bool {
    item.id.starts_with(&filter.id)
        && filter
            .state
            .as_ref()
            .is_none_or(|wanted| wanted.state == item.state)
        && has_all(&item.labels, &filter.label_selector)
}

/// Whether a listed container is wanted.
pub fn container(item: &cri::Container, filter: &cri::ContainerFilter) -> bool {
    item.id.starts_with(&filter.id)
        && item.pod_sandbox_id.starts_with(&filter.pod_sandbox_id)
        && filter
            .state
            .as_ref()
            .is_none_or(|wanted| wanted.state == item.state)
        && has_all(&item.labels, &filter.label_selector)
}

fn has_all(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_must_hold() {
        let item = cri::Container {
            id: "abcdef".into(),
            pod_sandbox_id: "123456".into(),
            state: cri::ContainerState::ContainerRunning.into(),
            labels: BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]),
            ..Default::default()
        };
        let state = |state: cri::ContainerState| Some(cri::ContainerStateValue { state: state.into() });
        let selector = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let cases = [
            (cri::ContainerFilter::default(), true),
            (
                cri::ContainerFilter {
                    id: "abc".into(),
                    ..Default::default()
                },
                true,
            ),
            (
                cri::ContainerFilter {
                    id: "bc".into(),
                    ..Default::default()
                },
                false,
            ),
            (
                cri::ContainerFilter {
                    pod_sandbox_id: "123456".into(),
                    ..Default::default()
                },
                true,
            ),
            (
                cri::ContainerFilter {
                    pod_sandbox_id: "9".into(),
                    ..Default::default()
                },
                false,
            ),
            (
                cri::ContainerFilter {
                    state: state(cri::ContainerState::ContainerRunning),
                    ..Default::default()
                },
                true,
            ),
            (
                cri::ContainerFilter {
                    state: state(cri::ContainerState::ContainerCreated),
                    ..Default::default()
                },
                false,
            ),
            (
                cri::ContainerFilter {
                    label_selector: selector("a", "1"),
                    ..Default::default()
                },
                true,
            ),
            (
                cri::ContainerFilter {
                    label_selector: selector("a", "2"),
                    ..Default::default()
                },
                false,
            ),
            (
                cri::ContainerFilter {
                    label_selector: selector("c", ""),
                    ..Default::default()
                },
                false,
            ),
        ];
        for (filter, expected) in cases {
            assert_eq!(container(&item, &filter), expected, "{filter:?}");
        }
    }
}
