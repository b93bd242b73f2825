//! Images as volumes.

use cri::{ImageSpec, Mount};
use support::Engine;
use tonic::Code;

use super::Node;

fn volume(image: &str, sub_path: &str) -> Mount {
    Mount {
        container_path: "/volume".into(),
        readonly: true,
        image: Some(ImageSpec {
            image: image.into(),
            user_specified_image: "example.org/data:1".into(),
            ..Default::default()
        }),
        image_sub_path: sub_path.into(),
        ..Default::default()
    }
}

/// Whether the environment's Engine is new enough to mount images.
fn able() -> bool {
    Engine::get().api_version() >= (1, 48)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_mounted_whole_and_in_part() {
    let node = Node::new().await;
    let data = node.daemon.pull("member:latest").await;
    if !able() {
        let mut config = node.config("too-old", &node.image);
        config.mounts = vec![volume(&data, "")];
        let error = node.refused(&config).await;
        assert_eq!(error.code(), Code::Unimplemented);
        assert!(error.message().starts_with("ImageVolumeMountFailed"), "{error}");
        return;
    }
    for (name, sub_path, file) in [
        ("whole", "", "/volume/etc/group"),
        ("part", "etc", "/volume/group"),
    ] {
        let mut config = node.config(name, &node.image);
        config.mounts = vec![volume(&data, sub_path)];
        let id = node.run(&config).await;
        let text = node.daemon.sh(&id, &format!("cat {file}")).await;
        assert!(text.contains("50000"), "{text}");
        let written = node.daemon.exec(&id, &["touch", "/volume/new"], 0).await.unwrap();
        assert_ne!(written.exit_code, 0);
        // The kubelet knows by the id that the image is in use.
        let mounts = node.daemon.container_status(&id).await.mounts;
        let image = mounts[0].image.clone().unwrap();
        assert_eq!((&image.image, &image.image_ref), (&data, &data));
        assert_eq!(image.user_specified_image, "example.org/data:1");
        assert_eq!(mounts[0].image_sub_path, sub_path);
    }
    // More than once in one container.
    let mut config = node.config("twice", &node.image);
    config.mounts = ["/volume", "/second", "/third"]
        .map(|place| Mount {
            container_path: place.into(),
            ..volume(&data, if place == "/third" { "etc" } else { "" })
        })
        .into();
    let id = node.run(&config).await;
    let text = node
        .daemon
        .sh(&id, "cat /volume/etc/group /second/etc/group /third/group")
        .await;
    assert_eq!(text.matches("50000").count(), 3, "{text}");
    let mounts = node.daemon.container_status(&id).await.mounts;
    let images: Vec<_> = mounts
        .into_iter()
        .map(|mount| mount.image.unwrap().image)
        .collect();
    assert_eq!(images, vec![data.clone(); 3]);
    // Named by its tag.
    let mut config = node.config("by-name", &node.image);
    config.mounts = vec![volume(&support::Env::get().image("member:latest"), "")];
    let id = node.run(&config).await;
    let image = node.daemon.container_status(&id).await.mounts[0].image.clone();
    assert_eq!(image.unwrap().image, data);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_mounted_fails_at_creation() {
    let node = Node::new().await;
    if !able() {
        return;
    }
    let unknown = format!("sha256:{}", "0".repeat(64));
    let mut writable = volume(&node.image, "");
    writable.readonly = false;
    for mount in [
        volume(&node.image, "no/such/path"),
        volume(&node.image, "../etc"),
        volume(&unknown, ""),
        writable,
    ] {
        let mut config = node.config("refused", &node.image);
        config.mounts = vec![mount.clone()];
        let error = node.refused(&config).await;
        assert_eq!(error.code(), Code::InvalidArgument, "{mount:?}");
        assert!(error.message().starts_with("ImageVolumeMountFailed"), "{error}");
    }
}
