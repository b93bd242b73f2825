//! RemoveImage.

use cri::RemoveImageRequest;
use support::{Daemon, Engine, Env, container_of};
use tonic::{Code, Status};

use super::{
    pull::{pull, spec},
    registry::{Pushed, own, push},
    status::image_status,
};

async fn remove(daemon: &Daemon, image: &str) -> Result<(), Status> {
    let request = RemoveImageRequest { image: spec(image) };
    daemon.images().remove_image(request).await.map(drop)
}

/// Pushes an image with two tags and pulls both.
async fn twice_named(daemon: &Daemon, repository: &str) -> Pushed {
    let image = push(repository, &["one", "two"], "busybox:1", 0);
    for tag in ["one", "two"] {
        let name = Env::get().image(&format!("{repository}:{tag}"));
        assert_eq!(pull(daemon, name, None).await.unwrap(), image.id);
    }
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_removes_the_image_with_all_of_them() {
    let daemon = support::daemon!().start().await;
    let name = Env::get().image(&own("removed"));
    for form in ["tag", "digest", "both", "id", "hex", "short"] {
        let image = twice_named(&daemon, &own("removed")).await;
        let hex = image.id.strip_prefix("sha256:").unwrap();
        let query = match form {
            "tag" => format!("{name}:one"),
            "digest" => format!("{name}@{}", image.digest),
            "both" => format!("{name}:two@{}", image.digest),
            "id" => image.id.clone(),
            "hex" => hex.into(),
            _ => hex[..12].into(),
        };
        remove(&daemon, &query).await.unwrap();
        for gone in [image.id.clone(), format!("{name}:one"), format!("{name}:two")] {
            assert_eq!(image_status(&daemon, &gone).await, None, "{gone} after {query}");
        }
        remove(&daemon, &query).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_image_is_removed_already() {
    let daemon = support::daemon!().start().await;
    for unknown in [
        "0".repeat(64),
        format!("sha256:{}", "0".repeat(64)),
        Env::get().image("busybox:none"),
    ] {
        remove(&daemon, &unknown).await.unwrap();
    }
    for bad in ["", "A B"] {
        let error = remove(&daemon, bad).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{bad:?}: {error}");
    }
    let nothing = daemon.images().remove_image(RemoveImageRequest::default()).await;
    assert_eq!(nothing.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_callers_at_once_all_see_it_gone() {
    let daemon = support::daemon!().start().await;
    let image = twice_named(&daemon, &own("removed-by-five")).await;
    let (daemon, id) = (&daemon, image.id.as_str());
    let callers = (0..5).map(|_| async move {
        remove(daemon, id).await.unwrap();
        assert_eq!(image_status(daemon, id).await, None);
    });
    futures_util::future::join_all(callers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_use_keeps_its_names() {
    let daemon = support::daemon!().start().await;
    let image = twice_named(&daemon, &own("in-use")).await;
    let before = image_status(&daemon, &image.id).await;
    assert!(before.is_some());
    let pod = daemon.pod("user");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "main", &image.id, &["sleep", "1000"]);
    let id = daemon.create(&sandbox, &pod, &config).await;
    let name = Env::get().image(&format!("{}:one", own("in-use")));
    // Whether it runs or not: it could not be started again.
    for start in [false, true] {
        if start {
            daemon.start_container(&id).await;
        }
        for query in [&name, &image.id] {
            let error = remove(&daemon, query).await.unwrap_err();
            assert_eq!(error.code(), Code::FailedPrecondition, "{query}: {error}");
            assert!(error.message().contains(&id), "it says who uses it: {error}");
            assert_eq!(image_status(&daemon, &image.id).await, before);
        }
    }
    let request = cri::RemoveContainerRequest { container_id: id };
    daemon.runtime().remove_container(request).await.unwrap();
    remove(&daemon, &name).await.unwrap();
    assert_eq!(image_status(&daemon, &image.id).await, None);
}

/// Any other answer than its status would keep the kubelet from clearing its pod away.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_image_was_taken_away_is_told_as_before() {
    let mut daemon = support::daemon!().start().await;
    let image = push(&own("taken-away"), &["1"], "busybox:1", 0);
    let name = Env::get().image(&format!("{}:1", own("taken-away")));
    assert_eq!(pull(&daemon, &name, None).await.unwrap(), image.id);
    let pod = daemon.pod("orphan");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "main", &image.id, &["true"]);
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let before = daemon.ended(&id).await;
    assert_eq!(before.image_id, image.id);
    Engine::get().ask("DELETE", &format!("/images/{}?force=1", image.id), None);
    let (gone, _) = Engine::get().call("GET", &format!("/images/{}/json", image.id), None);
    assert_eq!(gone, 404);
    for _ in 0..2 {
        assert_eq!(daemon.container_status(&id).await, before);
        daemon.restart().await;
    }
}
