//! The filters of CRI's lists.

use std::collections::BTreeMap;

/// What the filters look at.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its sandbox's id; a sandbox has none.
    pub sandbox_id: &'a str,
    /// The number of its state.
    pub state: i32,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a cri::PodSandbox> for Item<'a> {
    fn from(item: &'a cri::PodSandbox) -> Self {
        Self {
            id: &item.id,
            sandbox_id: "",
            state: item.state,
            labels: &item.labels,
        }
    }
}

impl<'a> From<&'a cri::Container> for Item<'a> {
    fn from(item: &'a cri::Container) -> Self {
        Self {
            id: &item.id,
            sandbox_id: &item.pod_sandbox_id,
            state: item.state,
            labels: &item.labels,
        }
    }
}

/// Whether a listed sandbox is wanted. Ids match by their beginning, as they did in dockershim.
pub fn sandbox<'a>(item: impl Into<Item<'a>>, filter: &cri::PodSandboxFilter) -> bool {
    let item = item.into();
    item.id.starts_with(&filter.id)
        && filter
            .state
            .as_ref()
            .is_none_or(|wanted| wanted.state == item.state)
        && has_all(item.labels, &filter.label_selector)
}

/// Whether a listed container is wanted.
pub fn container<'a>(item: impl Into<Item<'a>>, filter: &cri::ContainerFilter) -> bool {
    let item = item.into();
    item.id.starts_with(&filter.id)
        && item.sandbox_id.starts_with(&filter.pod_sandbox_id)
        && filter
            .state
            .as_ref()
            .is_none_or(|wanted| wanted.state == item.state)
        && has_all(item.labels, &filter.label_selector)
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
