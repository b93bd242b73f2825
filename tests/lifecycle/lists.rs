//! The filters of the lists.

use std::collections::BTreeMap;

use cri::{
    ContainerFilter, ContainerState, ContainerStateValue, PodSandboxFilter, PodSandboxState,
    PodSandboxStateValue,
};

use super::{Node, sandboxes, stop, stop_sandbox};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.into(), value.into()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_are_filtered_by_id_state_and_labels() {
    let node = Node::with(|pod| pod.labels.extend(labels(&[("tier", "web"), ("empty", "")]))).await;
    let daemon = &node.daemon;
    let mut second = daemon.pod("second");
    second.labels.extend(labels(&[("tier", "db")]));
    let (first, second) = (node.sandbox.clone(), daemon.run_pod(&second).await);
    stop_sandbox(daemon, &second).await;

    let mine = [("io.kubernetes.pod.namespace", daemon.name())];
    let state = |state: PodSandboxState| Some(PodSandboxStateValue { state: state.into() });
    let (ready, not_ready) = (
        state(PodSandboxState::SandboxReady),
        state(PodSandboxState::SandboxNotready),
    );
    let both = vec![&first, &second];
    let cases = [
        ("", None, vec![], both.clone()),
        ("", ready, vec![], vec![&first]),
        ("", not_ready, vec![], vec![&second]),
        (first.as_str(), None, vec![], vec![&first]),
        (&first[..12], None, vec![], vec![&first]),
        (&first[..12], not_ready, vec![], vec![]),
        ("feedfeedfeed", None, vec![], vec![]),
        ("", None, vec![("tier", "web")], vec![&first]),
        ("", None, vec![("tier", "web"), ("empty", "")], vec![&first]),
        ("", None, vec![("tier", "db"), ("empty", "")], vec![]),
        ("", not_ready, vec![("tier", "db")], vec![&second]),
        ("", None, vec![("tier", "cache")], vec![]),
        ("", None, vec![("none", "")], vec![]),
    ];
    for (id, state, selector, expected) in cases {
        // Other daemons of this Engine have sandboxes, too.
        let filter = PodSandboxFilter {
            id: id.into(),
            state,
            label_selector: labels(&[&mine[..], &selector].concat()),
        };
        let mut found: Vec<_> = sandboxes(daemon, filter.clone())
            .await
            .into_iter()
            .map(|s| s.id)
            .collect();
        let mut expected: Vec<_> = expected.into_iter().cloned().collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_filtered_by_id_sandbox_state_and_labels() {
    let node = Node::new().await;
    let daemon = &node.daemon;
    let mut other = daemon.pod("other");
    other.metadata.as_mut().unwrap().attempt = 1;
    let other_sandbox = daemon.run_pod(&other).await;
    let mut config = node.config("runs", super::SLEEP);
    config.labels.insert("tier".into(), "web".into());
    let runs = node.run(&config).await;
    let created = daemon
        .create(&node.sandbox, &node.pod, &node.config("created", super::SLEEP))
        .await;
    let ended = daemon.run_container(&other_sandbox, &other, &config).await;
    stop(daemon, &ended, 5).await;

    let mine = [("io.kubernetes.pod.namespace", daemon.name())];
    let state = |state: ContainerState| Some(ContainerStateValue { state: state.into() });
    let (sandbox, other) = (node.sandbox.as_str(), other_sandbox.as_str());
    let cases = [
        ("", "", None, vec![], vec![&runs, &created, &ended]),
        (
            "",
            "",
            state(ContainerState::ContainerRunning),
            vec![],
            vec![&runs],
        ),
        (
            "",
            "",
            state(ContainerState::ContainerCreated),
            vec![],
            vec![&created],
        ),
        (
            "",
            "",
            state(ContainerState::ContainerExited),
            vec![],
            vec![&ended],
        ),
        ("", "", state(ContainerState::ContainerUnknown), vec![], vec![]),
        ("", sandbox, None, vec![], vec![&runs, &created]),
        ("", &sandbox[..12], None, vec![], vec![&runs, &created]),
        ("", other, None, vec![], vec![&ended]),
        ("", "feedfeedfeed", None, vec![], vec![]),
        (&runs, sandbox, None, vec![], vec![&runs]),
        (&runs, other, None, vec![], vec![]),
        (&created[..12], "", None, vec![], vec![&created]),
        ("", "", None, vec![("tier", "web")], vec![&runs, &ended]),
        (
            "",
            other,
            state(ContainerState::ContainerExited),
            vec![("tier", "web")],
            vec![&ended],
        ),
        ("", "", None, vec![("tier", "db")], vec![]),
    ];
    for (id, sandbox, state, selector, expected) in cases {
        let filter = ContainerFilter {
            id: id.into(),
            pod_sandbox_id: sandbox.into(),
            state,
            label_selector: labels(&[&mine[..], &selector].concat()),
        };
        let mut found: Vec<_> = node
            .list(filter.clone())
            .await
            .into_iter()
            .map(|c| c.id)
            .collect();
        let mut expected: Vec<_> = expected.into_iter().cloned().collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{filter:?}");
    }
}
