//! Registries that fall silent, and callers that go away.

use std::time::{Duration, Instant};

use support::{Daemon, Env, eventually};
use tokio::task::block_in_place;
use tonic::Code;

use super::{
    pull::{pull, spec},
    registry::{Silent, SilentRegistry},
};

/// Less than the time after which a silent registry is given up.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_falls_silent_is_given_up() {
    for silent in [Silent::InLayer, Silent::AtManifest] {
        let daemon = support::daemon!()
            .flag("--image-pull-progress-deadline=2s")
            .start()
            .await;
        let registry = SilentRegistry::start(silent);
        let began = Instant::now();
        let error = pull(&daemon, registry.image(), None).await.unwrap_err();
        let took = began.elapsed();
        assert_eq!(error.code(), Code::Unknown, "{error}");
        assert!(error.message().starts_with("RegistryUnavailable"), "{error}");
        assert!((Duration::from_secs(2)..PATIENCE).contains(&took), "{took:?}");
        block_in_place(|| registry.has_fallen_silent());
        daemon.pull("busybox:1").await;
    }
}

/// The sockets that the daemon has open: those to the Engine are among them.
fn sockets(daemon: &Daemon) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let is_socket = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|file| file.to_string_lossy().starts_with("socket:"))
    };
    open.filter(|entry| entry.as_ref().is_ok_and(is_socket)).count()
}

/// The kubelet cancels a pull when its pod is deleted. The Engine ends a pull when nobody listens any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_ends_with_its_caller() {
    let daemon = support::daemon!().start().await;
    for silent in [Silent::InLayer, Silent::AtManifest] {
        let registry = SilentRegistry::start(silent);
        let images = daemon.images();
        let (mut callers, image) = (images.clone(), registry.image());
        let caller = tokio::spawn(async move {
            let request = cri::PullImageRequest {
                image: spec(image),
                ..Default::default()
            };
            callers.pull_image(request).await.map(drop)
        });
        block_in_place(|| registry.has_fallen_silent());
        let pulling = sockets(&daemon);
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        block_in_place(|| {
            // Others to the Engine come and go meanwhile.
            eventually("the connection of the pull is closed", PATIENCE, || {
                (sockets(&daemon) < pulling).then_some(())
            });
        });
        drop(images);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_deadline_ends_its_pull() {
    let daemon = support::daemon!().start().await;
    let registry = SilentRegistry::start(Silent::InLayer);
    let mut request = tonic::Request::new(cri::PullImageRequest {
        image: spec(registry.image()),
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(1));
    let began = Instant::now();
    let error = daemon.images().pull_image(request).await.unwrap_err();
    assert!(
        matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{error}"
    );
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert_eq!(
        pull(&daemon, Env::get().image("busybox:1"), None).await.unwrap(),
        daemon.pull("busybox:1").await
    );
}
