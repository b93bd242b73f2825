use super::*;

#[tokio::test]
async fn the_configuration_is_followed() {
    let node = Node::new();
    fs::remove_dir(node.path("conf")).unwrap();
    node.good("a");
    let cni = Cni::new(CniConfig {
        conf_dir: node.path("etc/cni/net.d"),
        bin_dirs: vec![node.path("bin")],
        cache_dir: node.path("cache"),
        // So that only the kernel's notices can make this test pass.
        poll: Duration::from_secs(1000),
        ..CniConfig::default()
    });
    let dir = node.path("etc/cni/net.d");
    let message = async || cni.status().await.err().map(|reason| reason.message);
    let shown = dir.display().to_string();
    assert!(
        message()
            .await
            .unwrap()
            .starts_with(&format!("cannot read the CNI configuration directory {shown}: "))
    );
    assert!(matches!(
        cni.add(&node.network(), soon()).await,
        Err(CniError::NotReady(_))
    ));
    // Nothing is known of the pod, and there is no network: nothing can be left of it.
    cni.del(&node.network(), soon()).await.unwrap();

    fs::create_dir_all(&dir).unwrap();
    eventually("empty", async || {
        message().await == Some(format!("no CNI configuration in {shown}"))
    })
    .await;
    fs::write(dir.join("20-b.conflist"), list("1.0.0", r#"{"type":"a"}"#)).unwrap();
    eventually("ready", async || message().await.is_none()).await;
    // The first usable one counts, and what is not usable is passed over.
    fs::write(dir.join("05-x.conflist"), "{").unwrap();
    fs::write(dir.join("06-x.conflist"), list("1.0.0", r#"{"type":"missing"}"#)).unwrap();
    fs::write(
        dir.join("10-a.conf"),
        r#"{"cniVersion":"1.0.0","name":"first","type":"a"}"#,
    )
    .unwrap();
    eventually("the first", async || {
        cni.watch.network().is_ok_and(|network| network.name == "first")
    })
    .await;
    fs::remove_file(dir.join("10-a.conf")).unwrap();
    eventually("the second", async || {
        cni.watch.network().is_ok_and(|network| network.name == "pods")
    })
    .await;
    fs::write(dir.join("20-b.conflist"), "").unwrap();
    eventually("broken", async || {
        message().await.is_some_and(|message| {
            message.starts_with(&format!(
                "no usable CNI configuration in {shown}: 05-x.conflist: is not a JSON object"
            )) && message.contains("; 06-x.conflist: plugin \"missing\": not found in ")
                && message.contains("; 20-b.conflist: is not a JSON object")
        })
    })
    .await;
    // The whole directory is replaced.
    let next = node.path("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("1.conflist"), list("1.0.0", r#"{"type":"a"}"#)).unwrap();
    fs::rename(&dir, node.path("old")).unwrap();
    eventually("gone", async || {
        message().await.is_some_and(|m| m.starts_with("cannot read"))
    })
    .await;
    fs::rename(&next, &dir).unwrap();
    eventually("ready again", async || message().await.is_none()).await;
    fs::remove_dir_all(node.path("etc")).unwrap();
    eventually("gone again", async || {
        message().await.is_some_and(|m| m.starts_with("cannot read"))
    })
    .await;
}

#[tokio::test]
async fn plugins_with_files_of_their_own_belong_to_the_network() {
    let node = Node::new();
    for name in ["a", "b"] {
        node.good(name);
    }
    fs::create_dir(node.path("conf/pods")).unwrap();
    fs::write(node.path("conf/pods/50-b.conf"), r#"{"type":"b"}"#).unwrap();
    node.list("1.1.0", r#"{"type":"a"}"#);
    let cni = node.start();
    cni.add(&node.network(), soon()).await.unwrap();
    fs::remove_dir_all(node.path("conf")).unwrap();
    eventually("not ready", async || cni.status().await.is_err()).await;
    let before = node.count();
    cni.del(&node.network(), soon()).await.unwrap();
    assert_eq!(node.runs()[before..], ["b DEL", "a DEL"]);
}

#[tokio::test]
async fn plugins_say_whether_they_are_ready() {
    let node = Node::new();
    let answer = node.path("answer");
    node.plugin("a", &format!(". {}", answer.display()));
    let told = |text: &str| {
        fs::write(node.path("draft"), text).unwrap();
        fs::rename(node.path("draft"), &answer).unwrap();
    };
    told("");
    node.list("1.1.0", r#"{"type":"a"}"#);
    let cni = node.start();
    cni.status().await.unwrap();
    assert_eq!(node.env(0, "CNI_COMMAND"), "STATUS");
    assert_eq!(node.env(0, "CNI_CONTAINERID"), "");
    told(r#"echo '{"code":50,"msg":"no addresses left"}'; exit 1"#);
    let expected = r#"network "pods": plugin "a" STATUS: no addresses left (code 50)"#;
    eventually("not ready", async || {
        cni.status().await.is_err_and(|reason| reason.message == expected)
    })
    .await;
    told("");
    eventually("ready", async || cni.status().await.is_ok()).await;

    // A plugin that hangs makes neither the answer slow nor the network ready.
    told("sleep 1000");
    eventually("not ready", async || {
        let before = Instant::now();
        let status = cni.status().await;
        assert!(
            before.elapsed() < Duration::from_millis(300),
            "took {:?}",
            before.elapsed()
        );
        status.is_err_and(|reason| {
            reason
                .message
                .ends_with("STATUS: did not end in time and was killed")
        })
    })
    .await;
    // An older configuration cannot be asked.
    node.list("1.0.0", r#"{"type":"a"}"#);
    eventually("ready", async || cni.status().await.is_ok()).await;
}
