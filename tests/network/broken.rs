//! Each step of RunPodSandbox fails once, and leaves nothing behind.

use std::time::{Duration, Instant};

use serde_json::json;
use support::{Action, EngineProxy, Rule};
use tonic::{Code, Request};

use super::{
    net::{Plugins, addresses, bridge, remove, sandboxes, set_network, try_run},
    traces::no_traces,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_engine_leaves_nothing() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let no = |status| Action::Answer(status, json!({ "message": "out of luck" }));
    let pod = daemon.pod("again");
    let steps = [
        Rule::on("POST", "/containers/create", no(500)),
        Rule::on("POST", "/containers/create", Action::Refuse),
        // Created, and nobody is told.
        Rule::on("POST", "/containers/create", Action::Cut(usize::MAX)),
        Rule::on("POST", "/containers/{id}/start", no(500)),
        Rule::on("POST", "/containers/{id}/start", Action::Refuse),
        Rule::on("POST", "/containers/{id}/start", Action::Cut(usize::MAX)),
        Rule::on("GET", "/containers/{id}/json", no(500)),
        Rule::on(
            "GET",
            "/containers/{id}/json",
            Action::Answer(200, json!("garbage")),
        ),
        Rule::on("GET", "/containers/{id}/json", Action::Cut(100)),
    ];
    for (step, rule) in steps.into_iter().enumerate() {
        proxy.rule(rule.times(1));
        let outcome = try_run(&daemon, &pod).await;
        proxy.clear_rules();
        match outcome {
            // A call that is safe to repeat may have been repeated.
            Ok(sandbox) => remove(&daemon, &sandbox).await,
            Err(error) => assert!(!error.message().is_empty(), "step {step}: {error}"),
        }
        // The next one of that name works, whatever the first has left, and then there is nothing.
        let sandbox = try_run(&daemon, &pod)
            .await
            .unwrap_or_else(|error| panic!("after step {step}: {error}"));
        remove(&daemon, &sandbox).await;
        no_traces(&daemon);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolv_conf_that_cannot_be_written_leaves_nothing() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let mut pod = daemon.pod("dns");
    pod.dns_config = Some(cri::DnsConfig {
        servers: vec!["10.0.0.10".into()],
        ..Default::default()
    });
    // What the Engine says of a real sandbox, but for the path.
    let model = daemon.run_pod(&daemon.pod("model")).await;
    let mut inspect = support::Engine::get().inspect(&model);
    inspect["ResolvConfPath"] = "/no/such/directory/resolv.conf".into();
    proxy.rule(Rule::on(
        "GET",
        "/containers/{id}/json",
        Action::Answer(200, inspect),
    ));
    let error = try_run(&daemon, &pod).await.unwrap_err();
    assert!(
        error.message().contains("/no/such/directory/resolv.conf"),
        "{error}"
    );
    proxy.clear_rules();
    let sandbox = daemon.run_pod(&pod).await;
    for sandbox in [model, sandbox] {
        remove(&daemon, &sandbox).await;
    }
    no_traces(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_a_plugin_leaves_nothing() {
    let plugins = Plugins::new("broken");
    let daemon = support::daemon!()
        .network(json!(null))
        .flag(plugins.flag())
        .start()
        .await;
    let pass = "jq .prevResult";
    plugins.write("stub", pass);
    let first = |daemon| vec![json!({ "type": "stub" }), bridge(daemon)];
    let last = |daemon| vec![bridge(daemon), json!({ "type": "stub" })];
    let pod = daemon.pod("again");
    let failures = [
        ("exit 7", "7"),
        ("echo said-why >&2; exit 1", "said-why"),
        (
            "echo '{\"cniVersion\":\"0.4.0\",\"code\":11,\"msg\":\"no room\"}'; exit 1",
            "no room",
        ),
        ("echo garbage", "garbage"),
        ("true", "stub"),
        ("kill -9 $$", "signal"),
        ("head -c 6000000 /dev/zero", "more than"),
        ("echo '{\"cniVersion\":\"9.0.0\",\"ips\":[]}'", "9.0.0"),
    ];
    for chain in [first(&daemon), last(&daemon)] {
        set_network(&daemon, &chain).await;
        for (script, words) in failures {
            plugins.write("stub", script);
            let error = try_run(&daemon, &pod).await.unwrap_err();
            assert_eq!(error.code(), Code::Unknown, "{script}: {error}");
            assert!(error.message().contains("\"stub\""), "{script}: {error}");
            assert!(error.message().contains(words), "{script}: {error}");
            no_traces(&daemon);
        }
    }
    // A plugin that is gone although the network is configured.
    plugins.write("stub", pass);
    plugins.remove("stub");
    let error = try_run(&daemon, &pod).await.unwrap_err();
    assert!(error.message().contains("stub"), "{error}");
    // Its DEL could not be asked for either: what is left is the kubelet's to remove, and does not run.
    plugins.write("stub", pass);
    let sandbox = try_run(&daemon, &pod).await.unwrap();
    assert_eq!(addresses(&daemon, &sandbox).await.len(), 1);
    remove(&daemon, &sandbox).await;
    no_traces(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_hangs_is_killed_at_the_callers_deadline() {
    let plugins = Plugins::new("hangs");
    let daemon = support::daemon!()
        .network(json!(null))
        .flag(plugins.flag())
        .start()
        .await;
    let pids = plugins.path("pids");
    plugins.write(
        "stub",
        &format!("sleep 1000 & echo $$ $! >>{}; wait", pids.display()),
    );
    set_network(&daemon, &[bridge(&daemon), json!({ "type": "stub" })]).await;
    let pod = daemon.pod("again");
    let mut request = Request::new(cri::RunPodSandboxRequest {
        config: Some(pod.clone()),
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(5));
    let began = Instant::now();
    daemon.runtime().run_pod_sandbox(request).await.unwrap_err();
    plugins.write("stub", "jq .prevResult");
    // Waits for the first, which is taken back.
    let sandbox = daemon.run_pod(&pod).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    for pid in std::fs::read_to_string(pids).unwrap().split_whitespace() {
        assert!(
            !std::path::Path::new("/proc").join(pid).join("exe").exists(),
            "plugin process {pid} lives"
        );
    }
    remove(&daemon, &sandbox).await;
    no_traces(&daemon);
}

/// A plugin that cannot be undone: the sandbox is not ready, and goes once the plugin is well again.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_does_not_run_and_is_removed_later() {
    let plugins = Plugins::new("undo");
    let daemon = support::daemon!()
        .network(json!(null))
        .flag(plugins.flag())
        .start()
        .await;
    plugins.write_whole("stub", "#!/bin/sh\necho not-now >&2\nexit 1\n");
    set_network(&daemon, &[bridge(&daemon), json!({ "type": "stub" })]).await;
    let mut pod = daemon.pod("stuck");
    let error = try_run(&daemon, &pod).await.unwrap_err();
    assert!(error.message().contains("not-now"), "{error}");
    for sandbox in sandboxes(&daemon).await {
        assert_eq!(
            sandbox.state(),
            cri::PodSandboxState::SandboxNotready,
            "{sandbox:?}"
        );
    }
    plugins.write("stub", "jq .prevResult");
    pod.metadata.as_mut().unwrap().attempt = 1;
    daemon.run_pod(&pod).await;
    for sandbox in sandboxes(&daemon).await {
        remove(&daemon, &sandbox.id).await;
    }
    no_traces(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_counts_as_no_network_and_is_told_once() {
    let mut daemon = support::daemon!().start().await;
    let sandbox = daemon.run_pod(&daemon.pod("damaged")).await;
    daemon.stop();
    let record = daemon
        .dir()
        .join(format!("cache/results/{}-{sandbox}-eth0", daemon.name()));
    let text = std::fs::read_to_string(&record).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["result"]["ips"][0]["address"] = "of no kind".into();
    std::fs::write(&record, document.to_string()).unwrap();
    daemon.start_again().await;
    for _ in 0..3 {
        let status = daemon.sandbox_status(&sandbox).await;
        assert_eq!(status.state(), cri::PodSandboxState::SandboxNotready);
        assert_eq!(status.network.unwrap().ip, "");
    }
    let name = record.file_name().unwrap().to_str().unwrap();
    assert_eq!(daemon.log().matches(name).count(), 1);
    remove(&daemon, &sandbox).await;
    no_traces(&daemon);
}
