//! Whatever the Engine answers, what can be read of it is kept.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::{collection, prelude::*};
use serde_json::{Map, Value, json};
use translate::{
    answer::{ContainerEntry, ContainerInspect, ImageEntry, ImageInspect, Info, Version},
    facts::{ApiVersion, EngineFacts},
    image,
    labels::{self, ContainerRecord, SandboxRecord},
    node, status,
};

/// Any JSON at all.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A text that an Engine may write, or null.
fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<String>().prop_map(Value::from),
        Just(json!("running")),
        Just(json!("created")),
        Just(json!("exited")),
        Just(json!("removing")),
        Just(json!("0001-01-01T00:00:00Z")),
        Just(json!("2026-11-21T20:00:00.5Z")),
        Just(json!("host")),
        Just(json!("SIGRTMIN+3")),
        Just(json!("<none>:<none>")),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        (-2..3_i64).prop_map(Value::from),
    ]
}

fn small_number() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from)]
}

fn texts() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        collection::vec(text(), 0..4).prop_map(Value::from)
    ]
}

fn map_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        any::<String>(),
        Just(labels::TYPE.to_owned()),
        Just(labels::RECORD.to_owned())
    ];
    let map = collection::btree_map(key, values, 0..4);
    prop_oneof![
        1 => Just(Value::Null),
        3 => map.prop_map(|map| Value::Object(map.into_iter().collect())),
    ]
}

fn bools() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from)]
}

/// An object that has some of these keys, and some that nobody knows.
fn object(keys: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Value> {
    let keys: Vec<_> = keys
        .into_iter()
        .map(|(key, value)| proptest::option::weighted(0.8, value).prop_map(move |value| (key, value)))
        .collect();
    let unknown = collection::btree_map("X[a-z]{1,4}", json(), 0..2);
    (keys, unknown).prop_map(|(keys, unknown)| {
        let known = keys
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Value::Object(known.chain(unknown).collect::<Map<_, _>>())
    })
}

fn inspect() -> impl Strategy<Value = Value> {
    let state = object(vec![
        ("Status", text().boxed()),
        ("Running", bools().boxed()),
        ("OOMKilled", bools().boxed()),
        ("Pid", small_number().boxed()),
        ("ExitCode", small_number().boxed()),
        ("Error", text().boxed()),
        ("StartedAt", text().boxed()),
        ("FinishedAt", text().boxed()),
    ]);
    let config = object(vec![
        ("Image", text().boxed()),
        ("Labels", map_of(text()).boxed()),
        ("StopSignal", text().boxed()),
    ]);
    let host_config = object(vec![
        ("NetworkMode", text().boxed()),
        ("PidMode", text().boxed()),
        ("IpcMode", text().boxed()),
        ("CpuShares", number().boxed()),
        ("Memory", number().boxed()),
        ("MemorySwap", number().boxed()),
        ("CpusetCpus", text().boxed()),
    ]);
    let endpoint = object(vec![("IPAddress", text().boxed())]);
    let networks = object(vec![(
        "Networks",
        map_of(prop_oneof![Just(Value::Null), endpoint]).boxed(),
    )]);
    let or_null = |strategy: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 4 => strategy].boxed();
    object(vec![
        ("Name", text().boxed()),
        ("Created", text().boxed()),
        ("Image", text().boxed()),
        ("State", or_null(state.boxed())),
        ("Config", or_null(config.boxed())),
        ("HostConfig", or_null(host_config.boxed())),
        ("NetworkSettings", or_null(networks.boxed())),
        ("ProcessLabel", text().boxed()),
        ("RestartCount", number().boxed()),
    ])
}

fn entry() -> impl Strategy<Value = Value> {
    object(vec![
        ("Names", texts().boxed()),
        ("Image", text().boxed()),
        ("ImageID", text().boxed()),
        ("Created", number().boxed()),
        ("State", text().boxed()),
        ("Labels", map_of(text()).boxed()),
    ])
}

fn image_answer() -> impl Strategy<Value = Value> {
    let config = object(vec![
        ("User", text().boxed()),
        ("ExposedPorts", map_of(json()).boxed()),
        ("Env", texts().boxed()),
        ("Volumes", map_of(json()).boxed()),
    ]);
    object(vec![
        ("RepoTags", texts().boxed()),
        ("RepoDigests", texts().boxed()),
        ("Size", number().boxed()),
        ("Created", text().boxed()),
        ("Config", prop_oneof![Just(Value::Null), config].boxed()),
    ])
}

const ID: &str = "c0ffee";

fn identified(mut answer: Value) -> Value {
    answer["Id"] = json!(ID);
    answer
}

proptest! {
    #[test]
    fn an_inspected_container_keeps_its_id(answer in inspect(), limit in any::<i64>()) {
        let inspect: ContainerInspect = serde_json::from_value(identified(answer)).unwrap();
        let mut record = ContainerRecord::default();
        let linux = record.config.linux.get_or_insert_default();
        linux.resources.get_or_insert_default().memory_limit_in_bytes = limit;
        let container = status::container(&inspect, &record);
        prop_assert_eq!(&container.id, ID);
        prop_assert!(container.state != i32::from(cri::ContainerState::ContainerUnknown)
            || !["created", "running", "exited"].contains(&inspect.state.status.as_str()));
        if container.reason == "ContainerCannotRun" {
            prop_assert_ne!(container.exit_code, 0);
        }
        let address = IpAddr::from([10, 0, 0, 2]);
        let sandbox = status::sandbox(&inspect, &SandboxRecord::default(), &[address]);
        prop_assert_eq!(&sandbox.id, ID);
        prop_assert_eq!(sandbox.network.unwrap().ip, "10.0.0.2");
        // Labels that anyone may have written.
        let _ = labels::read_sandbox(&inspect.name, &inspect.config.labels);
        let _ = labels::read_container(&inspect.name, &inspect.config.labels);
    }

    #[test]
    fn a_listed_container_keeps_its_id(answer in entry(), cannot_run in any::<bool>()) {
        let list = json!([identified(answer), {"Id": "last"}]);
        let list: Vec<ContainerEntry> = serde_json::from_value(list).unwrap();
        let item = status::container_item(&list[0], "5a", &ContainerRecord::default(), cannot_run);
        prop_assert_eq!((item.id.as_str(), item.pod_sandbox_id.as_str()), (ID, "5a"));
        prop_assert_eq!(status::sandbox_item(&list[0], &SandboxRecord::default()).id, ID);
        prop_assert_eq!(&list[1].id, "last");
    }

    #[test]
    fn an_image_keeps_its_id_and_has_a_size(answer in image_answer()) {
        let answer = identified(answer);
        let entry: ImageEntry = serde_json::from_value(answer.clone()).unwrap();
        let inspect: ImageInspect = serde_json::from_value(answer).unwrap();
        let user = Some(inspect.config.user.as_str());
        let listed = image::image_from_entry(&entry, user, &[]);
        prop_assert_eq!(&listed.id, ID);
        prop_assert!(listed.size > 0);
        prop_assert!(listed.repo_tags.iter().all(|tag| !tag.is_empty()), "{:?}", listed.repo_tags);
        prop_assert_eq!(listed, image::image_from_inspect(&inspect, &[]));
        image::removal(&inspect);
        image::verbose_info(&inspect);
    }

    #[test]
    fn any_info_gives_facts_that_can_be_told(
        driver in text(), runtimes in map_of(json()), pairs in json(), options in texts(),
    ) {
        let answer = json!({
            "CgroupDriver": driver, "Runtimes": runtimes, "DriverStatus": pairs, "SecurityOptions": options,
        });
        // A wrong kind of value is an error, never a panic and never half an answer.
        if let Ok(info) = serde_json::from_value::<Info>(answer) {
            let facts = EngineFacts::new(&Version::default(), &info, ApiVersion::FLOOR);
            let told = node::status(Ok(()), Ok(()), Some(&facts));
            prop_assert_eq!(told.runtime_handlers.len(), info.runtimes.len() + 1);
            node::info(&facts);
        }
    }

    #[test]
    fn any_json_is_an_answer_or_an_error(answer in json()) {
        let text = answer.to_string();
        let _ = serde_json::from_str::<Vec<ContainerEntry>>(&text);
        let _ = serde_json::from_str::<ContainerInspect>(&text);
        let _ = serde_json::from_str::<ImageInspect>(&text);
        let _ = serde_json::from_str::<Info>(&text);
    }

    #[test]
    fn a_record_that_was_tampered_with_does_not_hide_a_container(record in json()) {
        let labels = BTreeMap::from([
            (labels::TYPE.to_owned(), labels::TYPE_CONTAINER.to_owned()),
            (labels::SANDBOX_ID.to_owned(), "5a".to_owned()),
            (labels::RECORD.to_owned(), record.to_string()),
        ]);
        let read = labels::read_container("/k8s_nginx_web_default_uid_3", &labels);
        prop_assert_eq!(read.map(|(sandbox, _)| sandbox), Some("5a".to_owned()));
    }
}
