use cri::PortForwardRequest;
use tonic::Code;

use super::{Node, client::Client};

async fn url(node: &Node, sandbox: &str, ports: &[i32]) -> Result<String, tonic::Status> {
    let request = PortForwardRequest {
        pod_sandbox_id: sandbox.into(),
        port: ports.into(),
    };
    Ok(node
        .daemon
        .runtime()
        .port_forward(request)
        .await?
        .into_inner()
        .url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_pod_is_reached_and_a_closed_one_told() {
    let node = Node::new().await;
    // On the loopback address, where nobody else comes.
    let script = "echo the page > /tmp/index.html; exec httpd -f -p 127.0.0.1:8080 -h /tmp";
    let id = node.run(&["sh", "-c", script], |_| {}).await;
    let listens = "for i in $(seq 100); do grep -q :1F90 /proc/net/tcp && exit; sleep 0.1; done; exit 1";
    node.daemon.sh(&id, listens).await;
    let url = url(&node, &node.sandbox, &[8080, 8081]).await.unwrap();
    let mut client = Client::open(&url, "v4.channel.k8s.io").await;
    client.send(0, "GET / HTTP/1.0\r\n\r\n").await;
    let (mut page, mut error) = (Vec::new(), Vec::new());
    while !page.ends_with(b"the page\n") || error.len() <= 2 {
        let (channel, bytes) = client.receive().await.unwrap();
        match channel {
            0 => page.extend_from_slice(&bytes),
            3 => error.extend_from_slice(&bytes),
            1 | 2 => assert!(bytes.len() <= 2, "{bytes:?}"),
            other => panic!("channel {other}"),
        }
    }
    // Each begins with its port.
    assert!(
        page.starts_with(&[&8080u16.to_le_bytes()[..], b"HTTP/1."].concat()),
        "{page:?}"
    );
    assert_eq!(error[..2], 8081u16.to_le_bytes());
    let error = String::from_utf8_lossy(&error[2..]).into_owned();
    assert!(
        error.contains("failed to connect to port 8081") && error.contains("refused"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ports_of_live_pods_are_forwarded() {
    let node = Node::new().await;
    let code = async |sandbox: &str, ports: &[i32]| url(&node, sandbox, ports).await.unwrap_err().code();
    assert_eq!(code("", &[80]).await, Code::InvalidArgument);
    assert_eq!(code(&node.sandbox, &[0]).await, Code::InvalidArgument);
    assert_eq!(code(&node.sandbox, &[65536]).await, Code::InvalidArgument);
    assert_eq!(code("feedfeed", &[80]).await, Code::NotFound);
    let stop = cri::StopPodSandboxRequest {
        pod_sandbox_id: node.sandbox.clone(),
    };
    node.daemon.runtime().stop_pod_sandbox(stop).await.unwrap();
    assert_eq!(code(&node.sandbox, &[80]).await, Code::FailedPrecondition);
}
