//! What a container is given, and what is told of it.

use cri::{
    ContainerStatusRequest, Int64Value, KeyValue, LinuxContainerResources, UpdateContainerResourcesRequest,
};
use support::{Engine, container_of};
use tonic::Code;

use super::{Node, SLEEP, context, resources};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_is_echoed_and_the_images_labels_are_not() {
    let node = Node::new().await;
    let features = node.daemon.pull("features:latest").await;
    let mut config = container_of(&node.pod, "a_b_c", &features, SLEEP);
    config.metadata.as_mut().unwrap().attempt = 3;
    config.labels.insert("example.org/x_y".into(), "ä\n".into());
    config.annotations.insert("note".into(), "{\"a\": [1]}".into());
    config.log_path = "a_b_c/3.log".into();
    let spec = config.image.as_mut().unwrap();
    spec.user_specified_image = "example.org/features:latest".into();
    let id = node.run(&config).await;
    let status = node.daemon.container_status(&id[..13]).await;
    let item = node.item(&id).await;
    assert_eq!((&status.id, &item.id), (&id, &id));
    assert_eq!(
        (&status.metadata, &item.metadata),
        (&config.metadata, &config.metadata)
    );
    assert_eq!((&status.labels, &item.labels), (&config.labels, &config.labels));
    assert_eq!(
        (&status.annotations, &item.annotations),
        (&config.annotations, &config.annotations)
    );
    assert_eq!(item.pod_sandbox_id, node.sandbox);
    assert_eq!((&status.image_id, &item.image_id), (&features, &features));
    assert_eq!(status.image_ref, item.image_ref);
    assert!(
        status.image_ref.contains("features@sha256:"),
        "{}",
        status.image_ref
    );
    assert_eq!(status.image.unwrap().image, "example.org/features:latest");
    assert_eq!(status.log_path, format!("{}/a_b_c/3.log", node.pod.log_directory));
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_information_is_json_and_unknown_containers_are_not_found() {
    let node = Node::new().await;
    let id = node.asleep(|_| {}).await;
    let ask = |id: &str| {
        let request = ContainerStatusRequest {
            container_id: id.into(),
            verbose: true,
        };
        let mut runtime = node.daemon.runtime();
        async move { runtime.container_status(request).await }
    };
    let answer = ask(&id).await.unwrap().into_inner();
    let info: serde_json::Value = serde_json::from_str(&answer.info["info"]).unwrap();
    assert_eq!(info["pid"], Engine::get().inspect(&id)["State"]["Pid"]);
    assert_eq!(info["sandboxID"], *node.sandbox);
    for unknown in ["feedfeedfeed", "no id", &node.sandbox] {
        assert_eq!(
            ask(unknown).await.unwrap_err().code(),
            Code::NotFound,
            "{unknown}"
        );
    }
    assert_eq!(ask("").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_arguments_directory_and_variables() {
    let node = Node::new().await;
    let features = node.daemon.pull("features:latest").await;
    let print = "pwd; printf '%s\\n' \"$FROM_IMAGE\" \"${EMPTY-unset}\" \"$GIVEN\" \"$LINES_\"";
    // The image's entry point with other arguments: `sh -c` with the script.
    let mut args = container_of(&node.pod, "args", &features, &[]);
    args.args = vec![format!("({print}) >/data/out; sleep 1000")];
    // A command takes the place of both.
    let mut command = container_of(&node.pod, "command", &features, &["sh", "-c"]);
    command.args = vec![format!("mkdir -p /data; ({print}) >/data/out; sleep 1000")];
    command.working_dir = "/tmp".into();
    for (mut config, directory) in [(args, "/var/www"), (command, "/tmp")] {
        config.envs = [
            ("GIVEN", "a=b \"c\" $d"),
            ("LINES_", "one\ntwo"),
            ("FROM_IMAGE", "no"),
        ]
        .map(|(key, value)| KeyValue {
            key: key.into(),
            value: value.into(),
        })
        .into();
        let id = node.run(&config).await;
        let out = node
            .daemon
            .sh(
                &id,
                "while ! grep -q two /data/out; do sleep 0.05; done; cat /data/out",
            )
            .await;
        assert_eq!(out, format!("{directory}\nno\n\na=b \"c\" $d\none\ntwo"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_groups() {
    let node = Node::new().await;
    let member = node.daemon.pull("member:latest").await;
    type Change = fn(&mut cri::LinuxContainerSecurityContext);
    // Name, image, and what is to come of it: UID, GID, other groups.
    type Case<'a> = (&'a str, &'a str, Change, &'a str, &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 4] = [
        ("image", &member, |_| {}, "1000", "1000", &["1000", "50000"]),
        (
            "uid",
            &node.image,
            |c| c.run_as_user = Some(Int64Value { value: 1234 }),
            "1234",
            "0",
            &[],
        ),
        (
            "group",
            &node.image,
            |c| {
                c.run_as_user = Some(Int64Value { value: 1000 });
                c.run_as_group = Some(Int64Value { value: 2000 });
                c.supplemental_groups = vec![3000, 4000];
            },
            "1000",
            "2000",
            &["3000", "4000"],
        ),
        (
            "name",
            &node.image,
            |c| c.run_as_username = "www-data".into(),
            "33",
            "33",
            &[],
        ),
    ];
    for (name, image, change, uid, gid, groups) in cases {
        let mut config = container_of(&node.pod, name, image, SLEEP);
        change(context(&mut config));
        let id = node.run(&config).await;
        // Of the first process: `id` of an exec could differ.
        let status = node.daemon.sh(&id, "cat /proc/1/status").await;
        let line = |key: &str| {
            status
                .lines()
                .find_map(|l| l.strip_prefix(key))
                .unwrap()
                .trim()
                .to_owned()
        };
        assert_eq!(line("Uid:").split('\t').next(), Some(uid), "{name}");
        assert_eq!(line("Gid:").split('\t').next(), Some(gid), "{name}");
        let has = line("Groups:");
        let has: Vec<&str> = has.split_whitespace().collect();
        assert!(groups.iter().all(|group| has.contains(group)), "{name}: {has:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_and_tty_are_as_asked() {
    let node = Node::new().await;
    for (name, stdin, once, tty) in [
        ("none", false, false, false),
        ("once", true, true, false),
        ("both", true, false, true),
    ] {
        let mut config = node.config(name, SLEEP);
        (config.stdin, config.stdin_once, config.tty) = (stdin, once, tty);
        let id = node.run(&config).await;
        let engine = &Engine::get().inspect(&id)["Config"];
        let has = [&engine["OpenStdin"], &engine["StdinOnce"], &engine["Tty"]];
        assert_eq!(has, [stdin, once, tty], "{name}");
        let terminal = node.daemon.sh(&id, "readlink /proc/1/fd/1").await;
        assert_eq!(
            terminal.starts_with("/dev/pts") || terminal == "/dev/console",
            tty,
            "{name}: {terminal}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_set_changed_and_reported() {
    let node = Node::new().await;
    let id = node
        .asleep(|config| {
            *resources(config) = LinuxContainerResources {
                cpu_period: 100_000,
                cpu_quota: 50_000,
                cpu_shares: 512,
                memory_limit_in_bytes: 64 << 20,
                oom_score_adj: 500,
                cpuset_cpus: "0".into(),
                ..Default::default()
            };
        })
        .await;
    let reported = |status: cri::ContainerStatus| status.resources.unwrap().linux.unwrap();
    let status = reported(node.daemon.container_status(&id).await);
    let has = (
        status.cpu_period,
        status.cpu_quota,
        status.cpu_shares,
        status.memory_limit_in_bytes,
    );
    assert_eq!(has, (100_000, 50_000, 512, 64 << 20));
    assert_eq!((status.oom_score_adj, &*status.cpuset_cpus), (500, "0"));
    assert_eq!(node.daemon.sh(&id, "cat /proc/1/oom_score_adj").await, "500");

    let request = UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(LinuxContainerResources {
            cpu_quota: 70_000,
            cpu_period: 100_000,
            cpu_shares: 256,
            memory_limit_in_bytes: 96 << 20,
            oom_score_adj: 700,
            ..Default::default()
        }),
        ..Default::default()
    };
    node.daemon
        .runtime()
        .update_container_resources(request)
        .await
        .unwrap();
    let status = reported(node.daemon.container_status(&id).await);
    assert_eq!(
        (status.cpu_quota, status.cpu_shares, status.memory_limit_in_bytes),
        (70_000, 256, 96 << 20)
    );
    let limit =
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true";
    assert_eq!(node.daemon.sh(&id, limit).await, (96 << 20).to_string());
    assert_eq!(node.daemon.sh(&id, "cat /proc/1/oom_score_adj").await, "700");

    let request = UpdateContainerResourcesRequest {
        container_id: "feedfeedfeed".into(),
        linux: Some(LinuxContainerResources::default()),
        ..Default::default()
    };
    let status = node
        .daemon
        .runtime()
        .update_container_resources(request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}
