//! Answers of the Engine that do not come to their end.

use support::{Action, EngineProxy, Rule, SLEEP, container_of};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_the_engines_absence() {
    let proxy = EngineProxy::start();
    let options = support::daemon!().engine(proxy.socket());
    let daemon = options.flag("--store=off").start().await;
    let mut runtime = daemon.runtime();
    let mut list = async || {
        let answer = runtime
            .list_containers(cri::ListContainersRequest::default())
            .await;
        answer.map(drop)
    };
    // Questions are asked once more.
    proxy.rule(Rule::on("GET", "/containers/json", Action::Cut(1)).times(1));
    list().await.unwrap();
    proxy.clear_rules();
    proxy.rule(Rule::on("GET", "/containers/json", Action::Cut(1)));
    let error = list().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    let socket = proxy.socket().to_str().unwrap();
    assert!(
        error.message().contains(socket) && error.message().contains("broke off"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_an_answer_can_be_tried_again() {
    let proxy = EngineProxy::start();
    let options = support::daemon!().engine(proxy.socket());
    let daemon = options.flag("--runtime-request-timeout=5s").start().await;
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("pod");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "main", &image, SLEEP);
    for (action, expected) in [
        (Action::Hang, "no answer from the docker engine within"),
        (Action::Cut(1), "broke off"),
        (Action::Cut(usize::MAX), "broke off"),
    ] {
        proxy.rule(Rule::on("POST", "/containers/create", action));
        let error = daemon.try_create(&sandbox, &pod, &config).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.message().contains(expected), "{error}");
        proxy.clear_rules();
    }
    // Some of them have made it.
    daemon.run_container(&sandbox, &pod, &config).await;
}
