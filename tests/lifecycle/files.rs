//! Mounts and devices.

use std::{fs, os::unix::fs::symlink, process::Command};

use cri::{Device, Mount};

use super::Node;

#[tokio::test(flavor = "multi_thread")]
async fn mounts_lead_to_the_places_they_name() {
    let node = Node::new().await;
    let dir = node.daemon.dir().join("sources");
    fs::create_dir_all(dir.join("real")).unwrap();
    fs::write(dir.join("real/file"), "content").unwrap();
    symlink(dir.join("real"), dir.join("link")).unwrap();
    let mount = |source: &str, target: &str, readonly: bool| Mount {
        host_path: dir.join(source).display().to_string(),
        container_path: target.into(),
        readonly,
        ..Default::default()
    };
    let mounts = vec![
        mount("real", "/rw", false),
        mount("real", "/ro", true),
        mount("link", "/linked", false),
        mount("real/file", "/etc/one-file", true),
        mount("missing/below", "/made", false),
        // As the kubelet asks for a volume's subPath.
        Mount {
            image_sub_path: "real/file".into(),
            ..mount("real/file", "/sub-path", true)
        },
    ];
    let id = node.asleep(|config| config.mounts.clone_from(&mounts)).await;
    let sh = |script: &'static str| node.daemon.sh(&id, script);
    assert_eq!(
        sh("cat /rw/file /ro/file /linked/file /etc/one-file /sub-path").await,
        "content".repeat(5)
    );
    sh("echo new >/rw/new && echo made >/made/new && ! touch /ro/new && ! touch /etc/one-file").await;
    assert_eq!(fs::read_to_string(dir.join("real/new")).unwrap(), "new\n");
    assert_eq!(
        fs::read_to_string(dir.join("missing/below/new")).unwrap(),
        "made\n"
    );
    assert_eq!(node.daemon.container_status(&id).await.mounts, mounts);
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_is_not_recursive_unless_asked() {
    let node = Node::new().await;
    let source = node.daemon.dir().join("source");
    let below = source.join("below");
    fs::create_dir_all(&below).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(&below)
        .status();
    assert!(mounted.unwrap().success());
    let id = node
        .asleep(|config| {
            config.mounts = vec![Mount {
                host_path: source.display().to_string(),
                container_path: "/source".into(),
                readonly: true,
                ..Default::default()
            }];
        })
        .await;
    let script = "! touch /source/file && touch /source/below/file && echo as asked";
    let out = node.daemon.sh(&id, script).await;
    assert!(
        Command::new("umount")
            .arg("-l")
            .arg(&below)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(out, "as asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_have_the_permissions_they_were_given() {
    let node = Node::new().await;
    let link = node.daemon.dir().join("device");
    symlink("/dev/zero", &link).unwrap();
    let device = |host: &str, container: &str, permissions: &str| Device {
        host_path: host.into(),
        container_path: container.into(),
        permissions: permissions.into(),
    };
    let id = node
        .asleep(|config| {
            config.devices = vec![
                device("/dev/full", "/dev/the-full-one", "rwm"),
                device(link.to_str().unwrap(), "/dev/by-link", "r"),
            ];
        })
        .await;
    let engine = &support::Engine::get().inspect(&id)["HostConfig"]["Devices"];
    assert_eq!(engine[1]["CgroupPermissions"], "r", "{engine}");
    let script = "test -c /dev/the-full-one && test -c /dev/by-link && ! echo x >/dev/the-full-one \
                  && head -c 3 /dev/by-link | wc -c";
    assert_eq!(node.daemon.sh(&id, script).await, "3");
}
