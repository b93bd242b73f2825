//! ImageStatus and ListImages.

use cri::{Image, ImageFilter, ImageStatusRequest, ListImagesRequest};
use support::{Daemon, Env};
use tonic::Code;

use super::{
    pull::{pull, spec},
    registry::{own, push},
};

pub(crate) async fn image_status(daemon: &Daemon, image: &str) -> Option<Image> {
    let request = ImageStatusRequest {
        image: spec(image),
        verbose: false,
    };
    let answer = daemon.images().image_status(request).await;
    answer
        .unwrap_or_else(|status| panic!("status of {image}: {status}"))
        .into_inner()
        .image
}

async fn list(daemon: &Daemon, image: Option<&str>) -> Vec<Image> {
    let filter = image.map(|image| ImageFilter { image: spec(image) });
    let answer = daemon.images().list_images(ListImagesRequest { filter }).await;
    answer
        .unwrap_or_else(|status| panic!("list {image:?}: {status}"))
        .into_inner()
        .images
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_the_same_by_every_name() {
    let daemon = support::daemon!().start().await;
    let name = Env::get().image(&own("known-by"));
    let pushed = push(&own("known-by"), &["latest", "one"], "busybox:1", 0);
    let digest = format!("{name}@{}", pushed.digest);
    for tag in ["latest", "one"] {
        pull(&daemon, format!("{name}:{tag}"), None).await.unwrap();
    }
    let image = image_status(&daemon, &format!("{name}:one")).await.unwrap();
    assert_eq!(image.id, pushed.id);
    assert_eq!(image.repo_tags, [format!("{name}:latest"), format!("{name}:one")]);
    assert_eq!(image.repo_digests, std::slice::from_ref(&digest));
    assert!(image.size > 100_000, "{image:?}");
    assert!(!image.pinned);
    let hex = pushed.id.strip_prefix("sha256:").unwrap();
    for query in [
        name.clone(),
        format!("{name}:latest"),
        digest.clone(),
        format!("{name}:one@{}", pushed.digest),
        pushed.id.clone(),
        hex.into(),
        hex[..12].into(),
    ] {
        assert_eq!(
            image_status(&daemon, &query).await.as_ref(),
            Some(&image),
            "{query}"
        );
        assert_eq!(
            list(&daemon, Some(&query)).await,
            std::slice::from_ref(&image),
            "{query}"
        );
    }
    let all = list(&daemon, None).await;
    assert_eq!(all.iter().filter(|other| other.id == image.id).count(), 1);
    assert!(all.contains(&image), "a list says the same as a status");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_image_is_no_error() {
    let daemon = support::daemon!().start().await;
    let env = Env::get();
    for unknown in [
        env.image("busybox:none"),
        env.image("nobody"),
        "0".repeat(64),
        format!("sha256:{}", "0".repeat(64)),
        format!("{}@sha256:{}", env.image("busybox"), "0".repeat(64)),
        "0000".into(),
    ] {
        assert_eq!(image_status(&daemon, &unknown).await, None, "{unknown}");
        assert_eq!(list(&daemon, Some(&unknown)).await, [], "{unknown}");
    }
    let nothing = daemon.images().image_status(ImageStatusRequest::default()).await;
    assert_eq!(nothing.unwrap_err().code(), Code::InvalidArgument);
    let bad = ImageStatusRequest {
        image: spec("A B"),
        verbose: true,
    };
    let error = daemon.images().image_status(bad).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_tell_their_user() {
    let daemon = support::daemon!().start().await;
    for (name, uid, username) in [
        ("user-uid:latest", Some(1002), ""),
        ("user-uid-group:latest", Some(1003), ""),
        ("user-name:latest", None, "www-data"),
        ("user-name-group:latest", None, "www-data"),
    ] {
        let id = daemon.pull(name).await;
        let image = image_status(&daemon, &id).await.unwrap();
        assert_eq!(image.uid.map(|uid| uid.value), uid, "{name}");
        assert_eq!(image.username, username, "{name}");
        assert_eq!(list(&daemon, Some(&id)).await, [image], "{name}");
    }
}

/// `crictl inspecti` shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_verbose_status_has_the_images_configuration() {
    let daemon = support::daemon!().start().await;
    let request = ImageStatusRequest {
        image: spec(daemon.pull("features:latest").await),
        verbose: true,
    };
    let answer = daemon.images().image_status(request).await.unwrap().into_inner();
    let info: serde_json::Value = serde_json::from_str(&answer.info["info"]).unwrap();
    let text = info.to_string();
    assert!(
        text.contains("FROM_IMAGE=yes") && text.contains("dockside tests"),
        "{text}"
    );
}
