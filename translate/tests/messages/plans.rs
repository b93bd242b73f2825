//! Sandboxes, containers and updates.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::Value;
use translate::{
    Invalid, answer,
    container::{self, ContainerPlan, ContainerRequest},
    facts::{EngineFacts, HostView},
    filter, labels,
    namespaces::NetworkPlugin,
    resources,
    sandbox::{self, SandboxPlan, SandboxRequest},
};

use super::{
    all_facts, facts,
    generate::{Manner, decoded, is_field, message},
};

const SANDBOX: &str = "5a5a5a5a5a5a";

fn any_manner<T: prost::Message + Default + std::fmt::Debug + 'static>(
    name: &'static str,
) -> impl Strategy<Value = T> {
    prop_oneof![
        4 => message(name, Manner::Mixed),
        2 => message(name, Manner::Wild),
        2 => message(name, Manner::Plausible),
        1 => decoded(),
    ]
}

fn plan_sandbox(
    request: &cri::RunPodSandboxRequest,
    network: NetworkPlugin<'_>,
    facts: &EngineFacts,
) -> Result<SandboxPlan, Invalid> {
    let config = translate::required(&request.config, "config")?;
    let request = SandboxRequest {
        config,
        runtime_handler: &request.runtime_handler,
        image: "pause",
        network,
        created_at: 7,
    };
    sandbox::plan(request, facts, &HostView::default())
}

/// The sandbox of a container request, as it would have been recorded.
fn recorded(request: &cri::CreateContainerRequest) -> labels::SandboxRecord {
    labels::SandboxRecord {
        config: request.sandbox_config.clone().unwrap_or_default(),
        runtime_handler: String::new(),
        created_at: 7,
    }
}

fn plan_container(
    request: &cri::CreateContainerRequest,
    facts: &EngineFacts,
) -> Result<ContainerPlan, Invalid> {
    let request = ContainerRequest {
        config: translate::required(&request.config, "config")?,
        sandbox_config: request.sandbox_config.as_ref(),
        sandbox_id: SANDBOX,
        sandbox: &recorded(request),
        image_ref: "",
        created_at: 7,
        log_size: "64m",
    };
    // An image that has whatever user is asked for, and CRI's image volumes.
    let user = request
        .config
        .linux
        .as_ref()
        .and_then(|linux| linux.security_context.as_ref())
        .map_or("", |context| context.run_as_username.as_str());
    let images = request
        .config
        .mounts
        .iter()
        .filter_map(|mount| mount.image.as_ref());
    let host = HostView {
        accounts: translate::accounts::Accounts::read(&format!("{user}:x:7:7"), ""),
        volume_images: images
            .map(|image| (image.image.clone(), "/sha256".to_owned()))
            .collect(),
        ..HostView::default()
    };
    container::plan(request, facts, &host)
}

/// What holds for every container that is made for Kubernetes, and its labels.
fn made(body: &impl serde::Serialize) -> (Value, BTreeMap<String, String>) {
    let body = serde_json::to_value(body).unwrap();
    let host = &body["HostConfig"];
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(host["Init"], false);
    assert!(host["LogConfig"]["Type"].is_string());
    assert_eq!(body["Healthcheck"]["Test"], serde_json::json!(["NONE"]));
    assert!(host["NetworkMode"].as_str().is_some_and(|mode| !mode.is_empty()));
    assert!(host["IpcMode"].as_str().is_some_and(|mode| !mode.is_empty()));
    assert!(host["CgroupnsMode"].is_string());
    assert!(host["AutoRemove"].is_null() && host["PublishAllPorts"].is_null());
    for mount in host["Mounts"].as_array().into_iter().flatten() {
        assert!(mount["Target"].as_str().unwrap().starts_with('/'), "{mount}");
        assert!(mount["Source"].as_str().unwrap().starts_with('/'), "{mount}");
    }
    if let Some(parent) = host["CgroupParent"].as_str() {
        assert!(!parent.split('/').any(|part| part == ".."), "{parent}");
    }
    let labels = body["Labels"].as_object().unwrap().iter();
    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()));
    let labels = labels.collect();
    (body, labels)
}

fn check_sandbox(request: &cri::RunPodSandboxRequest, network: NetworkPlugin<'_>, facts: &EngineFacts) {
    let plan = match plan_sandbox(request, network, facts) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(is_field("RunPodSandboxRequest", &error.field), "{error}");
            return;
        }
    };
    let config = request.config.as_ref().unwrap();
    let (body, labels) = made(&plan.body);
    let record = labels::read_sandbox(&plan.name, &labels).unwrap();
    assert_eq!(&record.config, config);
    assert_eq!(record.runtime_handler, request.runtime_handler);
    assert_eq!(record, plan.record);
    assert_eq!(labels::read_container(&plan.name, &labels), None);
    let host = &body["HostConfig"];
    assert!(host["Privileged"].is_null());
    assert!(host["CapAdd"].is_null() && host["Mounts"].is_null() && host["Devices"].is_null());
    assert_eq!(host["LogConfig"]["Type"], "none");
    // The Engine refuses these words together.
    assert!(!plan.host_network || body["Hostname"].is_null() && host["PortBindings"].is_null());
    assert_eq!(plan.host_network, host["NetworkMode"] == "host");
    for line in plan.resolv_conf.iter().flat_map(|text| text.lines()) {
        let word = line.split(' ').next().unwrap();
        assert!(["search", "nameserver", "options"].contains(&word), "{line}");
    }
}

fn check_container(request: &cri::CreateContainerRequest, facts: &EngineFacts) {
    let plan = match plan_container(request, facts) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(is_field("CreateContainerRequest", &error.field), "{error}");
            return;
        }
    };
    let config = request.config.clone().unwrap();
    let pod = recorded(request).config;
    let (body, labels) = made(&plan.body);
    let (sandbox, record) = labels::read_container(&plan.name, &labels).unwrap();
    assert_eq!(sandbox, SANDBOX);
    assert_eq!(record, plan.record);
    let privileged = |linux: cri::LinuxPodSandboxConfig| linux.security_context.is_some_and(|c| c.privileged);
    if body["HostConfig"]["Privileged"] == true {
        assert!(pod.linux.is_some_and(privileged), "the pod was not made for it");
    }
    assert_eq!(body["HostConfig"]["NetworkMode"], format!("container:{SANDBOX}"));
    assert!(body["Hostname"].is_null());
    assert_eq!(body["Image"], config.image.as_ref().unwrap().image);
    if !record.log_path.is_empty() {
        assert!(record.log_path.starts_with('/'));
        assert!(
            !record.log_path.split('/').any(|part| part == ".."),
            "{}",
            record.log_path
        );
        assert_eq!(body["HostConfig"]["LogConfig"]["Type"], "json-file");
    }
    // Nothing that the request can choose reaches the OCI runtime this way.
    for key in body["HostConfig"]["Annotations"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
    {
        assert_eq!(key, "org.systemd.property.MemorySwapMax");
    }
    container::after_start(&record, facts, &HostView::default()).unwrap();
    let bare = cri::ContainerConfig {
        command: vec![],
        args: vec![],
        envs: vec![],
        ..config
    };
    assert_eq!(record.config, bare);
}

/// The share of plausible requests that are honoured, in percent: the checks above must not be idle.
fn honoured<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, plan: impl Fn(&T) -> bool) -> usize {
    let mut runner = TestRunner::deterministic();
    let mut next = || strategy.new_tree(&mut runner).unwrap().current();
    (0..100).filter(|_| plan(&next())).count()
}

#[test]
fn plausible_requests_are_mostly_honoured() {
    let sandboxes = message::<cri::PodSandboxConfig>("PodSandboxConfig", Manner::Plausible);
    let share = honoured(sandboxes, |config| {
        let request = cri::RunPodSandboxRequest {
            config: Some(config.clone()),
            ..Default::default()
        };
        plan_sandbox(&request, NetworkPlugin::Cni, &facts()).is_ok()
    });
    assert!(share >= 30, "{share} % of sandboxes");
    let containers = message::<cri::CreateContainerRequest>("CreateContainerRequest", Manner::Plausible);
    let share = honoured(containers, |request| plan_container(request, &facts()).is_ok());
    assert!(share >= 30, "{share} % of containers");
}

proptest! {
    #![proptest_config(Config { max_shrink_iters: 2000, ..Config::with_cases(512) })]

    #[test]
    fn any_sandbox_is_planned_or_refused_by_field(
        request in any_manner::<cri::RunPodSandboxRequest>("RunPodSandboxRequest"),
    ) {
        for facts in all_facts() {
            check_sandbox(&request, NetworkPlugin::Cni, &facts);
        }
        check_sandbox(&request, NetworkPlugin::Named("dockside"), &facts());
    }

    #[test]
    fn any_container_is_planned_or_refused_by_field(
        request in any_manner::<cri::CreateContainerRequest>("CreateContainerRequest"),
    ) {
        for facts in all_facts() {
            check_container(&request, &facts);
        }
    }

    #[test]
    fn any_update_is_planned_or_refused_by_field(
        request in any_manner::<cri::UpdateContainerResourcesRequest>("UpdateContainerResourcesRequest"),
        memory in prop_oneof![Just(0), Just(1_i64 << 27), any::<i64>()],
        memory_swap in prop_oneof![Just(0), Just(-1), Just(1_i64 << 27), any::<i64>()],
    ) {
        let current = answer::HostConfig { memory, memory_swap, ..Default::default() };
        for facts in all_facts() {
            match resources::update(request.linux.as_ref(), &current, &facts, &HostView::default()) {
                Ok(update) => for write in &update.after.writes {
                    prop_assert!(!write.file.contains('/') && !write.file.contains(".."), "{}", write.file);
                },
                Err(error) => {
                    prop_assert!(is_field("UpdateContainerResourcesRequest", &error.field), "{}", error);
                }
            }
        }
    }

    #[test]
    fn a_filter_selects_a_part_of_what_no_filter_selects(
        sandbox in any_manner::<cri::PodSandbox>("PodSandbox"),
        sandbox_filter in any_manner::<cri::PodSandboxFilter>("PodSandboxFilter"),
        container in any_manner::<cri::Container>("Container"),
        container_filter in any_manner::<cri::ContainerFilter>("ContainerFilter"),
    ) {
        prop_assert!(filter::sandbox(&sandbox, &Default::default()));
        prop_assert!(filter::container(&container, &Default::default()));
        if filter::sandbox(&sandbox, &sandbox_filter) {
            prop_assert!(sandbox.id.starts_with(&sandbox_filter.id));
        }
        if filter::container(&container, &container_filter) {
            prop_assert!(container.pod_sandbox_id.starts_with(&container_filter.pod_sandbox_id));
        }
        let own = cri::PodSandboxFilter {
            id: sandbox.id.clone(),
            state: Some(cri::PodSandboxStateValue { state: sandbox.state }),
            label_selector: sandbox.labels.clone(),
        };
        prop_assert!(filter::sandbox(&sandbox, &own));
    }
}
