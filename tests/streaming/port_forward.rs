use cri::NamespaceMode;
use support::Engine;
use tokio::io::AsyncWriteExt;
use tonic::Code;

use super::{Node, client::Client, spdy::Spdy};

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_pod_is_reached_and_a_closed_one_told() {
    let node = Node::new().await;
    // On the loopback address, where nobody else comes.
    let script = "echo the page > /tmp/index.html; exec httpd -f -p 127.0.0.1:8080 -h /tmp";
    node.serve(8080, script).await;
    let url = node.forward(&node.sandbox, &[8080, 8081]).await.unwrap();
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
    let code = async |sandbox: &str, ports: &[i32]| node.forward(sandbox, ports).await.unwrap_err().code();
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

/// The text of the error, and the first line of the answer, of a request for a page.
async fn page(url: &str, port: u16) -> (String, String) {
    let mut spdy = Spdy::open(url, "portforward.k8s.io").await;
    let (error, data) = spdy.dial(port, 0).await;
    spdy.send(data, "GET / HTTP/1.0\r\n\r\n").await;
    spdy.until(|spdy| spdy.has_ended(data) && spdy.has_ended(error))
        .await;
    (spdy.text(error), spdy.text(data))
}

const PAGE: &str = "exec httpd -f -p 127.0.0.1:8080 -h /tmp";

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_the_host_are_those_of_host_network_pods() {
    let node = Node::new().await;
    let mut pod = node.daemon.pod("host");
    let context = pod.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    context.namespace_options.as_mut().unwrap().network = NamespaceMode::Node.into();
    let host = node.daemon.run_pod(&pod).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"the host").await.unwrap();
    });
    let (error, text) = page(&node.forward(&host, &[]).await.unwrap(), port).await;
    assert_eq!((error.as_str(), text.as_str()), ("", "the host"));
    served.await.unwrap();
    // A pod with a network of its own does not see it.
    let (error, _) = page(&node.forward(&node.sandbox, &[]).await.unwrap(), port).await;
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_on_the_engines_bridge_are_reached_too() {
    let node = Node::with(&["--network-plugin=docker", "--pod-cidr=10.213.9.0/24"]).await;
    node.serve(8080, &format!("echo the page > /tmp/index.html; {PAGE}"))
        .await;
    let (error, text) = page(&node.forward(&node.sandbox, &[]).await.unwrap(), 8080).await;
    assert_eq!(error, "");
    assert!(text.ends_with("the page\n"), "{text}");
    let url = node.forward(&node.sandbox, &[]).await.unwrap();
    restarted(&node, &url).await;
    remove(&node, &node.sandbox).await;
    let (status, answer) = Engine::get().call("DELETE", "/networks/dockside", None);
    assert!(status < 300, "{status} {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_got_a_new_sandbox_is_not_reached_by_the_old_ones_url() {
    let node = Node::new().await;
    node.serve(8080, &format!("echo the page > /tmp/index.html; {PAGE}"))
        .await;
    let url = node.forward(&node.sandbox, &[]).await.unwrap();
    restarted(&node, &url).await;
}

/// Gives the pod a new sandbox, which serves at the same port; `url` is of the old one, and so is an open session.
async fn restarted(node: &Node, url: &str) {
    let mut session = Spdy::open(
        &node.forward(&node.sandbox, &[]).await.unwrap(),
        "portforward.k8s.io",
    )
    .await;
    stop(node, &node.sandbox).await;
    let mut pod = node.pod.clone();
    pod.metadata.as_mut().unwrap().attempt = 1;
    let sandbox = node.daemon.run_pod(&pod).await;
    let script = format!("echo the new page > /tmp/index.html; {PAGE}");
    let config = support::container_of(&pod, "new", &node.image, &["sh", "-c", &script]);
    let id = node.daemon.run_container(&sandbox, &pod, &config).await;
    let listens = "until grep -q ':1F90 .* 0A ' /proc/net/tcp*; do sleep 0.1; done";
    node.daemon.sh(&id, listens).await;
    let (error, text) = page(&node.forward(&sandbox, &[]).await.unwrap(), 8080).await;
    assert_eq!(error, "");
    assert!(text.ends_with("the new page\n"), "{text}");
    let (error, data) = session.dial(8080, 0).await;
    session
        .until(|spdy| spdy.has_ended(error) && spdy.has_ended(data))
        .await;
    for (error, text) in [(session.text(error), session.text(data)), page(url, 8080).await] {
        assert!(error.contains("does not run"), "{error}");
        assert_eq!(text, "");
    }
    remove(node, &sandbox).await;
}

async fn stop(node: &Node, sandbox: &str) {
    let pod_sandbox_id = sandbox.to_owned();
    let request = cri::StopPodSandboxRequest { pod_sandbox_id };
    node.daemon.runtime().stop_pod_sandbox(request).await.unwrap();
}

async fn remove(node: &Node, sandbox: &str) {
    stop(node, sandbox).await;
    let pod_sandbox_id = sandbox.to_owned();
    let request = cri::RemovePodSandboxRequest { pod_sandbox_id };
    node.daemon.runtime().remove_pod_sandbox(request).await.unwrap();
}
