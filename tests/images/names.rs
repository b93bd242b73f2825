//! The forms in which images are named when they are pulled.

use support::{Engine, EngineProxy, Env, container_of};

use super::{
    pull::pull,
    registry::{PushedIndex, digest, own, push, push_index},
    status::image_status,
};

fn tags(id: &str) -> Vec<String> {
    let inspect = Engine::get().ask("GET", &format!("/images/{id}/json"), None);
    let tags = inspect["RepoTags"].as_array().cloned().unwrap_or_default();
    let tags = tags.iter().map(|tag| tag.as_str().unwrap().to_owned());
    // containerd's store counts a pull by digest as a tag.
    tags.filter(|tag| !tag.contains('@')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pulled_by_every_form_of_name() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let image = push(&own("forms"), &["latest", "one", "two"], "busybox:1", 0);
    assert!(image.digest.len() == 71 && digest(b"") != image.digest);
    let name = Env::get().image(&own("forms"));

    // By the digest alone: no tag comes with it.
    let id = pull(&daemon, format!("{name}@{}", image.digest), None)
        .await
        .unwrap();
    assert_eq!(id, image.id, "what is returned is the image's id");
    assert_eq!(tags(&id), [""; 0]);

    // By a tag and a digest: the digest counts.
    let both = format!("{name}:one@{}", image.digest);
    assert_eq!(pull(&daemon, &both, None).await.unwrap(), image.id);
    let gone = format!("{name}:no-such-tag@{}", image.digest);
    assert_eq!(pull(&daemon, &gone, None).await.unwrap(), image.id);

    // Without a tag: the latest, and never all of them.
    assert_eq!(pull(&daemon, &name, None).await.unwrap(), image.id);
    assert_eq!(tags(&id), [format!("{name}:latest")]);
    assert_eq!(
        pull(&daemon, format!("{name}:two"), None).await.unwrap(),
        image.id
    );
    assert_eq!(tags(&id), [format!("{name}:latest"), format!("{name}:two")]);

    for call in proxy
        .calls()
        .0
        .iter()
        .filter(|call| call.template == "/images/create")
    {
        assert!(
            call.path.contains("&tag=") && !call.path.ends_with("&tag="),
            "the Engine would pull all tags: {}",
            call.path
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_is_followed() {
    let daemon = support::daemon!().start().await;
    let name = Env::get().image(&format!("{}:1", own("moves")));
    let old = push(&own("moves"), &["1"], "busybox:1", 0);
    assert_eq!(pull(&daemon, &name, None).await.unwrap(), old.id);
    let new = push(&own("moves"), &["1"], "user-uid:latest", 0);
    assert_ne!(old.id, new.id);
    assert_eq!(pull(&daemon, &name, None).await.unwrap(), new.id);
    assert_eq!(tags(&new.id), [name]);
    assert_eq!(tags(&old.id), [""; 0], "the old one is there without its name");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pulls_of_one_image_at_once_all_succeed() {
    let daemon = support::daemon!().start().await;
    let image = push(&own("at-once"), &["1"], "busybox:1", 200_000);
    let name = Env::get().image(&format!("{}:1", own("at-once")));
    let pulls = (0..8).map(|_| pull(&daemon, &name, None));
    for id in futures_util::future::join_all(pulls).await {
        assert_eq!(id.unwrap(), image.id);
    }
}

/// Of an index the Engine's own store keeps nothing but the image for this machine; containerd's store takes it as the image.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_the_image_for_this_machine() {
    let daemon = support::daemon!().start().await;
    let name = Env::get().image(&own("index"));
    let PushedIndex { index, image } = push_index(&own("index"), "1", "user-uid:latest");
    for reference in [format!("{name}:1"), format!("{name}@{}", index.digest)] {
        assert_eq!(pull(&daemon, &reference, None).await.unwrap(), index.id);
        let status = image_status(&daemon, &reference).await.unwrap();
        assert_eq!(status.id, index.id);
        assert_eq!(status.repo_tags, [format!("{name}:1")]);
        assert_eq!(status.repo_digests, [format!("{name}@{}", index.digest)]);
        assert_eq!(status.uid.map(|uid| uid.value), Some(1002));
    }
    // By its own digest.
    let reference = format!("{name}@{}", image.digest);
    assert_eq!(pull(&daemon, &reference, None).await.unwrap(), image.id);
    assert_eq!(image_status(&daemon, &reference).await.unwrap().id, image.id);

    let pod = daemon.pod("of-an-index");
    let sandbox = daemon.run_pod(&pod).await;
    let config = container_of(&pod, "main", &index.id, &["sleep", "1000"]);
    let id = daemon.run_container(&sandbox, &pod, &config).await;
    let status = daemon.container_status(&id).await;
    let known_by = [&index, &image].map(|image| format!("{name}@{}", image.digest));
    assert!(known_by.contains(&status.image_ref), "{status:?}");
    assert_eq!(status.image_id, index.id);
    assert_eq!(status.user.unwrap().linux.unwrap().uid, 1002);
}
