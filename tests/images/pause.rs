//! The pause image comes by itself.

use support::{Engine, EngineProxy, Env};
use tonic::Code;

use super::{
    registry::{own, push},
    status::image_status,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_pause_image_is_pulled_when_a_sandbox_needs_it_and_is_pinned() {
    let image = push(&own("pause-own"), &["1"], "pause:3.10", 0);
    let name = Env::get().image(&format!("{}:1", own("pause-own")));
    let proxy = EngineProxy::start();
    let daemon = support::daemon!()
        .engine(proxy.socket())
        .flag(format!("--pod-infra-container-image={name}"))
        .start()
        .await;
    // Three at once: one pulls, and the others wait for it.
    let pods = ["a", "b", "c"].map(|name| daemon.pod(name));
    let runs = futures_util::future::join_all(pods.iter().map(|pod| daemon.run_pod(pod))).await;
    assert_eq!(Engine::get().inspect(&runs[0])["Image"], *image.id);
    assert_eq!(proxy.take().of("POST", "/images/create"), 1);
    let status = image_status(&daemon, &name).await.unwrap();
    assert!(status.pinned, "the kubelet must not remove it");
    let answer = daemon
        .images()
        .list_images(cri::ListImagesRequest::default())
        .await;
    let pinned: Vec<_> = answer
        .unwrap()
        .into_inner()
        .images
        .into_iter()
        .filter(|image| image.pinned)
        .map(|image| image.id)
        .collect();
    assert_eq!(pinned, [image.id]);
    // It is not pulled again when it is there.
    proxy.take();
    daemon.run_pod(&daemon.pod("d")).await;
    let calls = proxy.take();
    assert_eq!(calls.of("POST", "/images/create"), 0, "{calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_credentials_fetch_the_pause_image() {
    use base64::Engine as _;
    let env = Env::get();
    push(&own("pause-secret"), &["1"], "pause:3.10", 0);
    let name = format!("{}/{}:1", env.registry_auth, own("pause-secret"));
    let directory = env.scratch().join("docker-config");
    std::fs::create_dir_all(&directory).unwrap();
    let pair = format!("{}:{}", env.registry_user, env.registry_password);
    let auth = base64::engine::general_purpose::STANDARD.encode(pair);
    let registry = &env.registry_auth;
    let mut options = support::daemon!().flag(format!("--pod-infra-container-image={name}"));
    options = options.variable("DOCKER_CONFIG", directory.to_str().unwrap());
    let daemon = options.start().await;
    let request = cri::RunPodSandboxRequest {
        config: Some(daemon.pod("without")),
        ..Default::default()
    };
    let refused = daemon.runtime().run_pod_sandbox(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains(&name), "{refused}");
    let file = directory.join("config.json");
    // A broken file says so, and is no reason to fail in another way.
    std::fs::write(&file, "{").unwrap();
    let request = cri::RunPodSandboxRequest {
        config: Some(daemon.pod("broken")),
        ..Default::default()
    };
    daemon.runtime().run_pod_sandbox(request).await.unwrap_err();
    assert!(daemon.log().contains(file.to_str().unwrap()));
    // It is read when it is needed: no restart is.
    let config = serde_json::json!({ "auths": { registry: { "auth": auth } } });
    std::fs::write(&file, config.to_string()).unwrap();
    daemon.run_pod(&daemon.pod("with")).await;
    assert!(!daemon.log().contains(&env.registry_password));
    std::fs::remove_dir_all(&directory).unwrap();
}
