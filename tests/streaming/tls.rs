//! Streams by TLS.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    Node,
    client::{CERTIFICATE, Client},
    spdy::{Remote, Spdy},
};

const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/streaming/tls/key.pem");
const OTHER_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/streaming/tls/other-key.pem");

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_goes_by_tls() {
    let node = Node::with(&[
        &format!("--stream-tls-cert={CERTIFICATE}"),
        &format!("--stream-tls-key={KEY}"),
    ])
    .await;
    let id = node.serve(7007, "exec nc -ll -p 7007 -e cat").await;
    let url = async || node.exec(&id, "head -c 1000000 /dev/zero; exit 6", |_| {}).await;
    assert!(url().await.starts_with("https://127.0.0.1:"), "{}", url().await);
    let spdy = Remote::open(&url().await, &["stdout"]).await.ended().await;
    let websocket = Client::open(&url().await, "v5.channel.k8s.io")
        .await
        .ended()
        .await;
    for ended in [spdy, websocket] {
        assert_eq!((ended.stdout.len(), ended.code()), (1_000_000, 6));
    }
    let mut spdy = Spdy::open(
        &node.forward(&node.sandbox, &[]).await.unwrap(),
        "portforward.k8s.io",
    )
    .await;
    let (_, data) = spdy.dial(7007, 0).await;
    spdy.send(data, "hello").await;
    spdy.until(|spdy| spdy.text(data) == "hello").await;
}

#[test]
fn what_is_no_certificate_is_told_at_the_start() {
    let directory = std::env::temp_dir().join(format!("dockside-tls-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, text: &str| {
        fs::write(directory.join(name), text).unwrap();
        directory.join(name).display().to_string()
    };
    let (empty, missing) = (
        file("empty.pem", "\n"),
        directory.join("missing.pem").display().to_string(),
    );
    let broken = file(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    );
    let cases = [
        (missing.as_str(), KEY, "missing.pem: No such file"),
        (&empty, KEY, "empty.pem holds no certificate"),
        (&broken, KEY, "broken.pem holds no certificate"),
        (CERTIFICATE, &empty, "empty.pem holds no private key"),
        (CERTIFICATE, OTHER_KEY, "other-key.pem: "),
    ];
    for (certificate, key, part) in cases {
        let said = refused(&directory, certificate, key);
        assert!(
            said.contains(part) && said.contains("--stream-tls-cert"),
            "{part}: {said}"
        );
    }
    fs::remove_dir_all(&directory).unwrap();
}

/// What a daemon that does not start says.
fn refused(directory: &Path, certificate: &str, key: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dockside"))
        .arg(format!("--root-directory={}", directory.display()))
        .arg(format!(
            "--container-runtime-endpoint=unix://{}/cri.sock",
            directory.display()
        ))
        .arg(format!("--stream-tls-cert={certificate}"))
        .arg(format!("--stream-tls-key={key}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
