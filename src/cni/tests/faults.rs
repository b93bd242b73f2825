use super::*;

#[tokio::test]
async fn what_plugins_do_wrong_is_told() {
    let node = Node::new();
    node.list("1.0.0", r#"{"type":"bad"}"#);
    node.good("bad");
    let cni = node.start();
    let bin = node.path("bin").display().to_string();
    let bin2 = node.path("bin2").display().to_string();
    for (body, expected) in [
        (
            "echo hello",
            "printed no JSON object: expected value at line 1 column 1; it printed \"hello\"".to_owned(),
        ),
        ("", "printed no result".to_owned()),
        ("exit 3", "failed with exit status: 3".to_owned()),
        (
            "echo out; echo err >&2; exit 3",
            "failed with exit status: 3; it printed \"out\\nerr\"".to_owned(),
        ),
        ("kill -9 $$", "failed with signal: 9 (SIGKILL)".to_owned()),
        (
            "echo '{\"cniVersion\":\"9.0.0\"}'",
            "cniVersion: \"9.0.0\" is not a version of CNI known here".to_owned(),
        ),
        ("printf '\\377'", "printed bytes that are not UTF-8".to_owned()),
        (
            "cat /dev/zero",
            "printed more than 4194304 bytes and was killed".to_owned(),
        ),
    ] {
        node.plugin("bad", &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{body}"));
        let error = cni.add(&node.network(), soon()).await.unwrap_err().to_string();
        let expected = format!("network \"pods\": plugin \"bad\" ADD: {expected}");
        assert!(error.starts_with(&expected), "{body}: {error}");
    }
    node.plugin("bad", r#"echo '{"cniVersion":"1.0.0","ips":[]}'"#);
    assert!(matches!(
        cni.add(&node.network(), soon()).await,
        Err(CniError::NoAddress { .. })
    ));

    fs::set_permissions(node.path("bin/bad"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = cni.add(&node.network(), soon()).await.unwrap_err().to_string();
    assert!(
        error.ends_with(&format!("ADD: {bin}/bad is not executable")),
        "{error}"
    );
    fs::remove_file(node.path("bin/bad")).unwrap();
    let error = cni.add(&node.network(), soon()).await.unwrap_err().to_string();
    assert!(
        error.ends_with(&format!("ADD: not found in {bin}, {bin2}")),
        "{error}"
    );
    fs::write(node.path("bin/bad"), "no program").unwrap();
    fs::set_permissions(node.path("bin/bad"), fs::Permissions::from_mode(0o755)).unwrap();
    let error = cni.add(&node.network(), soon()).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("cannot run {bin}/bad: Exec format error")),
        "{error}"
    );
}

#[tokio::test]
async fn a_plugin_need_not_read_its_document() {
    let node = Node::new();
    let path = node.path("bin/deaf");
    fs::write(&path, format!("#!/bin/sh\nexec <&-\necho '{RESULT}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    // More than a pipe holds.
    node.list(
        "1.0.0",
        &format!(r#"{{"type":"deaf","filler":"{}"}}"#, "x".repeat(300_000)),
    );
    node.start().add(&node.network(), soon()).await.unwrap();
}

fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_its_children() {
    let node = Node::new();
    let pid = node.path("pid");
    node.plugin(
        "hang",
        &format!("[ $CNI_COMMAND = ADD ] || exit 0\nsleep 1000 & echo $! > {0}.new; mv {0}.new {0}; echo busy >&2; wait", pid.display()),
    );
    node.list("1.0.0", r#"{"type":"hang"}"#);
    let cni = node.start();
    let before = Instant::now();
    let error = cni
        .add(&node.network(), before + Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(
        before.elapsed() < Duration::from_secs(4),
        "took {:?}",
        before.elapsed()
    );
    assert_eq!(
        error.to_string(),
        r#"network "pods": plugin "hang" ADD: did not end in time and was killed; it printed "busy""#
    );
    assert_eq!(node.runs(), ["hang ADD", "hang DEL"]);
    let child = fs::read_to_string(&pid).unwrap();
    eventually("the child is dead", async || !is_running(child.trim())).await;

    // The same when the caller goes away.
    fs::remove_file(&pid).unwrap();
    let (runner, network) = (cni.clone(), node.network());
    let task = tokio::spawn(async move { runner.add(&network, soon()).await.is_ok() });
    eventually("the plugin runs", async || pid.exists()).await;
    task.abort();
    let child = fs::read_to_string(&pid).unwrap();
    eventually("the child is dead", async || !is_running(child.trim())).await;
}

#[tokio::test]
async fn a_child_that_stays_behind_does_not_hold_the_plugin_up() {
    let node = Node::new();
    node.plugin(
        "daemon",
        &format!("[ $CNI_COMMAND != ADD ] || echo '{RESULT}'\nsleep 5 &"),
    );
    node.list("1.0.0", r#"{"type":"daemon"}"#);
    let before = Instant::now();
    node.start().add(&node.network(), soon()).await.unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(4),
        "took {:?}",
        before.elapsed()
    );
}

#[tokio::test]
async fn pods_that_hang_do_not_keep_others_from_going() {
    let node = Node::new();
    node.plugin("hang", "[ $CNI_COMMAND != ADD ] || sleep 1000");
    node.list("1.0.0", r#"{"type":"hang"}"#);
    let cni = node.start();
    let at_once = 2 * thread::available_parallelism().map_or(1, NonZero::get);
    let hanging: Vec<_> = (0..at_once)
        .map(|index| {
            let (cni, mut network) = (cni.clone(), node.network());
            network.sandbox_id = format!("hanging{index}");
            tokio::spawn(async move { cni.add(&network, soon()).await.is_ok() })
        })
        .collect();
    eventually("all hang", async || node.count() == at_once).await;
    let before = Instant::now();
    let busy = cni
        .add(&node.network(), before + Duration::from_millis(300))
        .await;
    assert!(matches!(busy, Err(CniError::Busy)), "{busy:?}");
    cni.del(&node.network(), soon()).await.unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(3),
        "took {:?}",
        before.elapsed()
    );
    for task in hanging {
        task.abort();
    }
}
