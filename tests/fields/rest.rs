//! What has to fail at creation, and what an image says that Kubernetes does not want.

use cri::{CdiDevice, Device, Mount, MountPropagation, Signal, StatusRequest};
use support::{Engine, container_of};
use tonic::Code;

use super::{Node, SLEEP};

fn mount(node: &Node, change: impl FnOnce(&mut Mount)) -> Mount {
    let source = node.daemon.dir().join("source");
    std::fs::create_dir_all(&source).unwrap();
    let mut mount = Mount {
        host_path: source.display().to_string(),
        container_path: "/source".into(),
        ..Default::default()
    };
    change(&mut mount);
    mount
}

#[tokio::test(flavor = "multi_thread")]
async fn recursive_read_only_mounts_are_had_exactly_where_they_are_advertised() {
    let node = Node::new().await;
    let status = node
        .daemon
        .runtime()
        .status(StatusRequest { verbose: false })
        .await;
    let handlers = status.unwrap().into_inner().runtime_handlers;
    let default = handlers.iter().find(|handler| handler.name.is_empty()).unwrap();
    let features = default.features.unwrap();
    assert!(!features.user_namespaces);
    let recursive = |change: fn(&mut Mount)| {
        let mut config = node.config("recursive", &node.image);
        let asked = |mount: &mut Mount| {
            mount.readonly = true;
            mount.recursive_read_only = true;
            change(mount);
        };
        config.mounts = vec![mount(&node, asked)];
        config
    };
    if features.recursive_read_only_mounts {
        let below = node.daemon.dir().join("source/below");
        std::fs::create_dir_all(&below).unwrap();
        let tmpfs = |command: &str, arguments: &[&str]| {
            let done = std::process::Command::new(command)
                .args(arguments)
                .arg(&below)
                .status();
            assert!(done.unwrap().success(), "{command}");
        };
        tmpfs("mount", &["-t", "tmpfs", "tmpfs"]);
        let id = node.run(&recursive(|_| ())).await;
        let mut codes = Vec::new();
        for file in ["/source/x", "/source/below/x"] {
            let touched = node.daemon.exec(&id, &["touch", file], 0).await.unwrap();
            codes.push(touched.exit_code);
        }
        tmpfs("umount", &["-l"]);
        assert_eq!(codes, [1, 1]);
        assert!(node.daemon.container_status(&id).await.mounts[0].recursive_read_only);
    } else {
        let error = node.refused(&recursive(|_| ())).await;
        assert!(error.message().starts_with("RROUnsupported"), "{error}");
    }
    let slave = MountPropagation::PropagationHostToContainer;
    for config in [
        recursive(|mount| mount.readonly = false),
        recursive(|mount| mount.propagation = MountPropagation::PropagationHostToContainer.into()),
        recursive(|mount| mount.propagation = MountPropagation::PropagationBidirectional.into()),
    ] {
        assert_eq!(node.refused(&config).await.code(), Code::InvalidArgument);
    }
    let mut config = node.config("slave", &node.image);
    config.mounts = vec![mount(&node, |mount| mount.propagation = slave.into())];
    let id = node.run(&config).await;
    let mounts = node.daemon.container_status(&id).await.mounts;
    assert_eq!(mounts[0].propagation(), slave);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_are_not_there_fail_at_creation() {
    let node = Node::new().await;
    let device = |host: &str| Device {
        host_path: host.into(),
        container_path: "/dev/given".into(),
        permissions: String::new(),
    };
    let dangling = node.daemon.dir().join("dangling");
    std::os::unix::fs::symlink("/dev/no-such-device", &dangling).unwrap();
    for path in ["/dev/no-such-device", dangling.to_str().unwrap()] {
        let mut config = node.config("missing", &node.image);
        config.devices = vec![device(path)];
        let error = node.refused(&config).await;
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains("config.devices[0].host_path"), "{error}");
    }
    // Devices of a directory are all of it, links to it followed.
    let directory = node.daemon.dir().join("devices");
    std::fs::create_dir_all(directory.join("below")).unwrap();
    for (name, numbers) in [("zero", ["1", "5"]), ("below/full", ["1", "7"])] {
        let node = directory.join(name);
        let mut command = std::process::Command::new("mknod");
        assert!(
            command
                .arg(node)
                .arg("c")
                .args(numbers)
                .status()
                .unwrap()
                .success()
        );
    }
    let link = node.daemon.dir().join("link");
    std::os::unix::fs::symlink(&directory, &link).unwrap();
    for (name, path) in [("directory", &directory), ("link", &link)] {
        let mut config = node.config(name, &node.image);
        config.devices = vec![device(path.to_str().unwrap())];
        let id = node.run(&config).await;
        let script = "head -c 3 /dev/given/zero | wc -c && ! echo x 2>&1 >/dev/given/below/full";
        let out = node.daemon.sh(&id, script).await;
        assert!(out.starts_with('3') && out.contains("No space left"), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cdi_devices_reach_the_engine_or_are_refused() {
    let node = Node::new().await;
    let mut config = node.config("cdi", &node.image);
    config.cdi_devices = vec![CdiDevice {
        name: "example.org/none=0".into(),
    }];
    let info = Engine::get().ask("GET", "/info", None);
    if info["CDISpecDirs"].as_array().is_none_or(Vec::is_empty) {
        let error = node.refused(&config).await;
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("config.CDI_devices"), "{error}");
        return;
    }
    // The Engine reads specifications at the start.
    let id = node.daemon.create(&node.sandbox, &node.pod, &config).await;
    let request = cri::StartContainerRequest { container_id: id };
    let error = node.daemon.runtime().start_container(request).await.unwrap_err();
    assert!(error.message().contains("example.org/none=0"), "{error}");

    let kind = format!("example.org/{}", node.daemon.name());
    let specification = serde_json::json!({
        "cdiVersion": "0.5.0",
        "kind": kind,
        "devices": [{
            "name": "one",
            "containerEdits": {
                "env": ["GIVEN=by CDI"],
                "deviceNodes": [{"path": "/dev/of-cdi", "hostPath": "/dev/zero"}],
            },
        }],
    });
    std::fs::create_dir_all("/run/cdi").unwrap();
    let file = format!("/run/cdi/{}.json", node.daemon.name());
    std::fs::write(&file, specification.to_string()).unwrap();
    let mut config = node.config("cdi-one", &node.image);
    let name = format!("{kind}=one");
    config.cdi_devices = vec![CdiDevice { name }];
    let id = node.run(&config).await;
    let script = "tr '\\0' '\\n' </proc/1/environ | grep GIVEN; head -c 3 /dev/of-cdi | wc -c";
    let out = node.daemon.sh(&id, script).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(out, "GIVEN=by CDI\n3");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_runtime_of_the_engine_is_a_handler_and_nothing_else_is() {
    let node = Node::new().await;
    let mut runtime = node.daemon.runtime();
    let status = runtime.status(StatusRequest { verbose: false }).await;
    let handlers = status.unwrap().into_inner().runtime_handlers;
    let mut names: Vec<_> = handlers.iter().map(|handler| handler.name.as_str()).collect();
    names.sort_unstable();
    let info = Engine::get().ask("GET", "/info", None);
    let mut wanted: Vec<_> = info["Runtimes"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    wanted.push("");
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    let run = async |handler: &str| {
        let request = cri::RunPodSandboxRequest {
            config: Some(node.daemon.pod(&format!("of-{handler}"))),
            runtime_handler: handler.into(),
        };
        let answer = node.daemon.runtime().run_pod_sandbox(request).await?;
        Ok::<_, tonic::Status>(answer.into_inner().pod_sandbox_id)
    };
    for handler in ["runc", "io.containerd.runc.v2"] {
        let id = run(handler).await.unwrap();
        assert_eq!(Engine::get().inspect(&id)["HostConfig"]["Runtime"], handler);
        assert_eq!(node.daemon.sandbox_status(&id).await.runtime_handler, handler);
    }
    let error = run("kata").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(
        error.message().contains("\"kata\"") && error.message().contains("runc"),
        "{error}"
    );

    let answer = runtime
        .runtime_config(cri::RuntimeConfigRequest {})
        .await
        .unwrap();
    let driver = answer.into_inner().linux.unwrap().cgroup_driver();
    assert_eq!(
        driver.as_str_name().to_lowercase(),
        info["CgroupDriver"].as_str().unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_signal_is_the_one_told() {
    let node = Node::new().await;
    let script = "trap 'echo usr1; exit 7' USR1; trap '' TERM; touch /ready; while :; do sleep 0.1; done";
    let mut config = node.config("signal", &node.image);
    config.command = ["sh", "-c", script].map(str::to_owned).into();
    config.stop_signal = Signal::Sigusr1.into();
    let id = node.run(&config).await;
    let status = node.daemon.container_status(&id).await;
    assert_eq!(status.stop_signal(), Signal::Sigusr1);
    // A first process without a trap does not get it.
    node.daemon
        .sh(&id, "until [ -e /ready ]; do sleep 0.1; done")
        .await;
    let request = cri::StopContainerRequest {
        container_id: id.clone(),
        timeout: 30,
    };
    node.daemon.runtime().stop_container(request).await.unwrap();
    assert_eq!(node.daemon.container_status(&id).await.exit_code, 7);
    // One of the signals without a number of its own.
    let mut config = node.config("real-time", &node.image);
    config.stop_signal = Signal::Sigrtminplus3.into();
    let id = node.daemon.create(&node.sandbox, &node.pod, &config).await;
    assert_eq!(
        node.daemon.container_status(&id).await.stop_signal(),
        Signal::Sigrtminplus3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_images_health_check_and_volumes_leave_nothing_behind() {
    let node = Node::new().await;
    let features = node.daemon.pull("features:latest").await;
    let image = Engine::get().ask("GET", &format!("/images/{features}/json"), None);
    let config = &image["Config"];
    assert!(
        config["Healthcheck"].is_object() && config["Volumes"].is_object(),
        "{config}"
    );
    let id = node
        .run(&container_of(&node.pod, "features", &features, SLEEP))
        .await;
    let inspect = Engine::get().inspect(&id);
    assert!(inspect["State"]["Health"].is_null() || inspect["State"]["Health"]["Status"] == "none");
    let volumes: Vec<String> = inspect["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|mount| mount["Type"] == "volume")
        .map(|mount| mount["Name"].as_str().unwrap().to_owned())
        .collect();
    assert!(!volumes.is_empty(), "{inspect}");
    let request = cri::RemoveContainerRequest { container_id: id };
    node.daemon.runtime().remove_container(request).await.unwrap();
    for volume in volumes {
        let (status, _) = Engine::get().call("GET", &format!("/volumes/{volume}"), None);
        assert_eq!(status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_sandboxing_runtimes_annotations_reach_a_runtime_and_only_a_named_one() {
    let node = Node::new().await;
    let annotations = [
        ("io.katacontainers.config.hypervisor.default_vcpus", "2"),
        ("org.systemd.property.TasksMax", "uint64 7"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let able = Engine::get().api_version() >= (1, 43);
    for (handler, passed) in [("", 0), ("runc", usize::from(able))] {
        let mut pod = node.daemon.pod("annotated");
        pod.annotations = annotations.clone().into();
        let request = cri::RunPodSandboxRequest {
            config: Some(pod.clone()),
            runtime_handler: handler.into(),
        };
        let answer = node.daemon.runtime().run_pod_sandbox(request).await.unwrap();
        let sandbox = answer.into_inner().pod_sandbox_id;
        let config = container_of(&pod, "annotated", &node.image, SLEEP);
        let container = node.daemon.create(&sandbox, &pod, &config).await;
        for id in [&sandbox, &container] {
            let has = &Engine::get().inspect(id)["HostConfig"]["Annotations"];
            let has: Vec<_> = has
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key.clone())
                .collect();
            assert_eq!(has.len(), passed, "{handler:?}: {has:?}");
            assert!(
                has.iter().all(|key| key.starts_with("io.katacontainers.")),
                "{has:?}"
            );
        }
        let update = cri::UpdatePodSandboxResourcesRequest {
            pod_sandbox_id: sandbox,
            ..Default::default()
        };
        node.daemon
            .runtime()
            .update_pod_sandbox_resources(update)
            .await
            .unwrap();
    }
    let update = cri::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: "feedfeedfeed".into(),
        ..Default::default()
    };
    let error = node
        .daemon
        .runtime()
        .update_pod_sandbox_resources(update)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_says_why() {
    let daemon = support::daemon!().start().await;
    let mut runtime = daemon.runtime();
    let answers = [
        runtime
            .checkpoint_container(cri::CheckpointContainerRequest::default())
            .await
            .map(drop),
        runtime
            .checkpoint_pod(cri::CheckpointPodRequest::default())
            .await
            .map(drop),
        runtime
            .restore_pod(cri::RestorePodRequest::default())
            .await
            .map(drop),
    ];
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented);
        assert!(error.message().contains("the docker engine"), "{error}");
    }
}
