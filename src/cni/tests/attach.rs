use super::*;

#[tokio::test]
async fn plugins_are_chained_recorded_and_undone() {
    let node = Node::new();
    node.good("first");
    node.plugin_in(
        "bin2",
        "second",
        &format!(
            "[ $CNI_COMMAND != ADD ] || echo '{}'",
            RESULT.replace("10.9", "10.8")
        ),
    );
    node.list(
        "1.0.0",
        r#"{"type":"first","mtu":1.0},{"type":"second","capabilities":{"portMappings":true,"ipRanges":true}}"#,
    );
    let cni = node.start();
    cni.status().await.unwrap();
    cni.set_pod_cidrs("10.8.0.0/24,fd00:9::/64").unwrap();
    let added = cni.add(&node.network(), soon()).await.unwrap();
    assert_eq!(added.network, "pods");
    let addresses: Vec<IpAddr> = vec!["10.8.0.2".parse().unwrap(), "fd00:9::2".parse().unwrap()];
    assert_eq!(added.addresses, addresses);
    assert_eq!(node.runs(), ["first ADD", "second ADD"]);
    assert_eq!(
        node.document(0),
        json(r#"{"cniVersion":"1.0.0","name":"pods","type":"first","mtu":1.0}"#)
    );
    let second = node.document(1);
    assert_eq!(second["prevResult"], json(RESULT));
    assert_eq!(
        second["runtimeConfig"],
        json(
            r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}],
                "ipRanges":[[{"subnet":"10.8.0.0/24"}],[{"subnet":"fd00:9::/64"}]]}"#
        )
    );
    assert_eq!(node.env(0, "CNI_CONTAINERID"), ID);
    assert_eq!(node.env(0, "CNI_IFNAME"), "eth0");
    assert_eq!(node.env(0, "CNI_NETNS"), node.pod.netns().to_str().unwrap());
    assert_eq!(
        node.env(0, "CNI_PATH"),
        format!("{}:{}", node.path("bin").display(), node.path("bin2").display())
    );
    assert_eq!(
        node.env(0, "CNI_ARGS"),
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;\
             K8S_POD_INFRA_CONTAINER_ID={ID};K8S_POD_UID=u-1"
        )
    );
    let env = fs::read_to_string(node.path("log/0.env")).unwrap();
    assert!(env.contains("\nPATH=") && !env.contains("HOME="), "{env}");

    // As libcni writes it, readable by nobody else.
    let record = json(&fs::read_to_string(node.cached()).unwrap());
    assert_eq!(record["kind"], "cniCacheV1");
    assert_eq!(record["result"], json(&RESULT.replace("10.9", "10.8")));
    assert_eq!(record["netns"], node.pod.netns().to_str().unwrap());
    assert_eq!(
        fs::metadata(node.cached()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(node.path("cache/results"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    let files = fs::read_dir(node.path("cache")).unwrap().count();
    assert_eq!(files, 1, "nothing but the results is left in the cache");

    // Another process, with another configuration, that knows less of the pod.
    drop(cni);
    node.good("other");
    node.conf(
        "05-other.conflist",
        &list("1.0.0", r#"{"type":"other"}"#).replace("pods", "others"),
    );
    let cni = node.start();
    assert_eq!(cni.addresses(ID).await.unwrap(), Some(addresses));
    assert_eq!(cni.addresses("ffff").await.unwrap(), None);
    let mut pod = node.network();
    pod.capabilities = Capabilities::default();
    pod.netns = PathBuf::from("/run/netns/is-gone");
    cni.del(&pod, soon()).await.unwrap();
    assert_eq!(node.runs()[2..], ["second DEL", "first DEL"]);
    for run in 2..4 {
        assert_eq!(node.document(run)["prevResult"], record["result"]);
    }
    assert_eq!(node.document(2)["runtimeConfig"], second["runtimeConfig"]);
    assert_eq!(
        node.env(2, "CNI_NETNS"),
        "",
        "a namespace that is gone is not named"
    );
    assert_eq!(node.env(2, "CNI_ARGS"), node.env(0, "CNI_ARGS"));
    assert!(!node.cached().exists());
    assert_eq!(cni.addresses(ID).await.unwrap(), None);

    // Again: nothing is recorded, so the network of now is asked.
    cni.del(&pod, soon()).await.unwrap();
    assert_eq!(node.runs()[4..], ["other DEL"]);
}

#[tokio::test]
async fn a_failed_add_is_undone() {
    let node = Node::new();
    node.good("first");
    node.plugin(
        "second",
        r#"[ $CNI_COMMAND != DEL ] || exit 1
           echo '{"cniVersion":"1.0.0","code":7,"msg":"no ports","details":"of 8080"}'; exit 1"#,
    );
    node.good("third");
    node.list("1.0.0", r#"{"type":"first"},{"type":"second"},{"type":"third"}"#);
    let cni = node.start();
    let error = cni.add(&node.network(), soon()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"network "pods": plugin "second" ADD: no ports; of 8080 (code 7)"#
    );
    // That one cannot be undone keeps the others from nothing; what has not run is not undone.
    assert_eq!(
        node.runs(),
        ["first ADD", "second ADD", "second DEL", "first DEL"]
    );
    assert_eq!(node.document(3)["prevResult"], json(RESULT));
    assert!(!node.cached().exists());
}

#[tokio::test]
async fn garbage_is_collected() {
    let node = Node::new();
    node.good("a");
    node.list("1.1.0", r#"{"type":"a"}"#);
    let cni = node.start();
    cni.status().await.unwrap();
    let mut other = node.network();
    other.sandbox_id = "ffff".to_owned();
    cni.add(&node.network(), soon()).await.unwrap();
    cni.add(&other, soon()).await.unwrap();
    // Another network's record is no business of this one's plugins.
    let foreign = node.path("cache/results/pods-2-ffff-eth0");
    let record = fs::read_to_string(node.path("cache/results/pods-ffff-eth0")).unwrap();
    fs::write(
        &foreign,
        record.replace(r#""networkName":"pods""#, r#""networkName":"pods-2""#),
    )
    .unwrap();
    cni.gc(soon()).await.unwrap();
    let collecting = (0..node.count()).filter(|run| node.env(*run, "CNI_COMMAND") == "GC");
    let collecting: Vec<_> = collecting.collect();
    assert_eq!(collecting.len(), 1);
    let collected = node.document(collecting[0]);
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(
            collected[key],
            json(&format!(
                r#"[{{"containerID":"{ID}","ifname":"eth0"}},{{"containerID":"ffff","ifname":"eth0"}}]"#
            ))
        );
    }
    assert!(node.cached().exists() && foreign.exists());
}

#[tokio::test]
async fn what_others_set_up_is_taken_down() {
    let node = Node::new();
    for name in ["a", "old"] {
        node.good(name);
    }
    node.list("1.0.0", r#"{"type":"a"}"#);
    let results = node.path("cache/results");
    fs::create_dir_all(&results).unwrap();
    // What cri-dockerd leaves: the network of then, and the loopback of every pod. The process of
    // its path is another by now.
    let record = concat!(
        r#"{"kind":"cniCacheV1","containerId":"0123abcd","config":"eyJjbmlWZXJzaW9uIjoiMC4zLjEiLCJuYW1lIjoid2FzIiwicGx1Z2lucyI6W3sidHlwZSI6Im9sZCIsImNhcGFiaWxpdGllcyI6eyJiYW5kd2lkdGgiOnRydWV9fV19","#,
        r#""ifName":"eth0","networkName":"was","netns":"/proc/1/ns/net","cniArgs":[["IgnoreUnknown","1"]],"#,
        r#""capabilityArgs":{"bandwidth":{"ingressRate":5}},"result":{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.7.0.7/24"}]}}"#
    );
    fs::write(results.join("was-0123abcd-eth0"), record).unwrap();
    fs::write(results.join("cni-loopback-0123abcd-lo"), "{}").unwrap();
    let cni = node.start();
    assert_eq!(
        cni.addresses(ID).await.unwrap(),
        Some(vec!["10.7.0.7".parse().unwrap()])
    );
    let mut pod = node.network();
    pod.netns = PathBuf::new();
    cni.del(&pod, soon()).await.unwrap();
    assert_eq!(node.runs(), ["old DEL"]);
    assert_eq!(node.env(0, "CNI_NETNS"), "");
    assert_eq!(node.env(0, "CNI_ARGS"), "IgnoreUnknown=1");
    let document = node.document(0);
    assert_eq!(
        document["runtimeConfig"],
        json(r#"{"bandwidth":{"ingressRate":5}}"#)
    );
    assert_eq!(document["prevResult"], Value::Null, "0.3.1 knows no result here");
    assert_eq!(fs::read_dir(&results).unwrap().count(), 0);

    // Records of libcni before 0.8 are bare results; a damaged one is as good as none.
    for (content, result) in [
        (
            r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.7.0.8/24"}]}"#,
            json(r#"{"cniVersion":"1.0.0","ips":[{"address":"10.7.0.8/24"}]}"#),
        ),
        ("garbage", Value::Null),
    ] {
        fs::write(node.cached(), content).unwrap();
        let run = node.count();
        cni.del(&node.network(), soon()).await.unwrap();
        assert_eq!(node.runs()[run..], ["a DEL"]);
        assert_eq!(node.document(run)["prevResult"], result);
        assert!(!node.cached().exists());
    }
}

#[tokio::test]
async fn a_record_that_makes_no_sense_has_no_addresses_and_is_taken_away() {
    let node = Node::new();
    node.good("a");
    node.list("1.0.0", r#"{"type":"a"}"#);
    let cni = node.start();
    fs::create_dir_all(node.path("cache/results")).unwrap();
    for content in [
        "garbage",
        r#"{"cniVersion":"1.0.0","ips":"many"}"#,
        r#"{"cniVersion":"1.0.0","ips":[{"address":"ten"}]}"#,
        r#"{"cniVersion":"1.0.0","ips":[{"address":"10.7.0.8/24","interface":7}]}"#,
    ] {
        fs::write(node.cached(), content).unwrap();
        assert_eq!(cni.addresses(ID).await.unwrap(), Some(Vec::new()), "{content}");
        cni.del(&node.network(), soon()).await.unwrap();
        assert!(!node.cached().exists(), "{content}");
    }
    assert_eq!(cni.addresses(ID).await.unwrap(), None);
}

#[tokio::test]
async fn a_failed_del_is_kept_for_another_try() {
    let node = Node::new();
    node.good("a");
    node.list("1.0.0", r#"{"type":"a"}"#);
    let cni = node.start();
    cni.add(&node.network(), soon()).await.unwrap();
    node.plugin(
        "a",
        r#"echo '{"code":11,"msg":"open /x: no such file or directory"}'; exit 1"#,
    );
    let error = cni.del(&node.network(), soon()).await.unwrap_err().to_string();
    assert!(
        error.ends_with("DEL: open /x: no such file or directory (code 11)"),
        "{error}"
    );
    assert!(node.cached().exists());
    // With the namespace gone, that is how some plugins say that nothing is left.
    let mut pod = node.network();
    pod.netns = PathBuf::new();
    cni.del(&pod, soon()).await.unwrap();
    assert!(!node.cached().exists());
    node.plugin("a", r#"echo '{"code":3,"msg":"unknown"}'; exit 1"#);
    cni.del(&node.network(), soon()).await.unwrap();
}
