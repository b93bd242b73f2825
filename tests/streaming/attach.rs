use cri::{AttachRequest, ContainerState};
use tonic::Code;

use super::{
    Node,
    client::{Client, RESIZE, STDIN, STDOUT},
};

async fn attach(node: &Node, id: &str, change: impl FnOnce(&mut AttachRequest)) -> String {
    let mut request = AttachRequest {
        container_id: id.into(),
        stdin: true,
        stdout: true,
        stderr: true,
        ..Default::default()
    };
    change(&mut request);
    let answer = node.daemon.runtime().attach(request).await;
    answer.unwrap().into_inner().url
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_input_ends_a_container_that_reads_once() {
    let node = Node::new().await;
    let id = node
        .run(
            &["sh", "-c", "while read l; do echo out $l; echo err $l >&2; done"],
            |config| {
                config.stdin = true;
                config.stdin_once = true;
            },
        )
        .await;
    let mut client = Client::open(&attach(&node, &id, |_| {}).await, "v5.channel.k8s.io").await;
    client.send(STDIN, "one\n").await;
    client.expect(STDOUT, "out one").await;
    client.send(STDIN, "two\n").await;
    client.end(STDIN).await;
    let ended = client.ended().await;
    assert_eq!(ended.text(), "out two\n");
    assert!(ended.stderr.ends_with(b"err two\n"), "{ended:?}");
    assert_eq!(ended.code(), 0);
    assert_eq!(node.daemon.ended(&id).await.exit_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_outlives_its_clients() {
    let node = Node::new().await;
    let id = node
        .run(&["sh"], |config| {
            config.stdin = true;
            config.tty = true;
        })
        .await;
    let tty = |request: &mut AttachRequest| {
        request.tty = true;
        request.stderr = false;
    };
    for (number, size) in [(1, "31 101"), (2, "32 102")] {
        let mut client = Client::open(&attach(&node, &id, tty).await, "v4.channel.k8s.io").await;
        let (height, width) = size.split_once(' ').unwrap();
        client
            .send(RESIZE, format!(r#"{{"Width":{width},"Height":{height}}}"#))
            .await;
        let until = format!("until [ \"$(stty size)\" = '{size}' ]; do sleep 0.1; done");
        let script = format!("{until}; stty size; X=$((X+1)); echo n$X\n");
        client.send(STDIN, script).await;
        client.expect(STDOUT, &format!("{size}\r\nn{number}\r\n")).await;
    }
    let status = node.daemon.container_status(&id).await;
    assert_eq!(status.state(), ContainerState::ContainerRunning);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_run_has_no_streams() {
    let node = Node::new().await;
    let id = node.run(&["true"], |_| {}).await;
    node.daemon.ended(&id).await;
    let request = AttachRequest {
        container_id: id,
        stdout: true,
        ..Default::default()
    };
    let code = async |request: AttachRequest| {
        let answer = node.daemon.runtime().attach(request).await;
        answer.unwrap_err().code()
    };
    assert_eq!(code(request.clone()).await, Code::FailedPrecondition);
    let nothing = AttachRequest {
        stdout: false,
        ..request
    };
    assert_eq!(code(nothing).await, Code::InvalidArgument);
}
