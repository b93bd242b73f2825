//! ImageFsInfo.

use std::{path::Path, time::Duration};

use cri::{FilesystemUsage, ImageFsInfoRequest};
use support::{Daemon, Engine, EngineProxy, Env};

use super::{
    pull::pull,
    registry::{own, push},
};

async fn fs_info(daemon: &Daemon) -> FilesystemUsage {
    let answer = daemon.images().image_fs_info(ImageFsInfoRequest {}).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.image_filesystems.len(), 1, "{answer:?}");
    assert_eq!(answer.container_filesystems.len(), 1, "{answer:?}");
    answer.image_filesystems[0].clone()
}

fn bytes(usage: &FilesystemUsage) -> u64 {
    usage.used_bytes.unwrap().value
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_filesystem_grows_by_what_is_pulled() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    daemon.pull("busybox:1").await;
    let before = fs_info(&daemon).await;
    let mountpoint = &before.fs_id.as_ref().unwrap().mountpoint;
    assert!(Path::new(mountpoint).is_dir(), "{mountpoint}");
    assert!(bytes(&before) > 500_000, "{before:?}");
    assert!(before.inodes_used.unwrap().value > 0);
    let size = 5_000_000;
    push(&own("filling"), &["1"], "busybox:1", size);
    pull(&daemon, Env::get().image(&format!("{}:1", own("filling"))), None)
        .await
        .unwrap();
    let after = fs_info(&daemon).await;
    let grown = bytes(&after) - bytes(&before);
    // containerd's store keeps what was pulled beside what it has unpacked.
    let copies = if Engine::get().containerd_store() { 2 } else { 1 };
    let expected = copies * size as u64;
    // Tests beside this one pull small images.
    assert!((expected..expected + size as u64).contains(&grown), "{grown}");
    assert!(after.timestamp > before.timestamp);
    let request = cri::RemoveImageRequest {
        image: super::pull::spec(Env::get().image(&format!("{}:1", own("filling")))),
    };
    daemon.images().remove_image(request).await.unwrap();
    assert!(bytes(&fs_info(&daemon).await) < bytes(&after) - size as u64 / 2);
    assert_eq!(proxy.take().of("GET", "/system/df"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_later_than_the_one_before() {
    let daemon = support::daemon!().start().await;
    let mut last = fs_info(&daemon).await.timestamp;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let next = fs_info(&daemon).await;
        assert!(next.timestamp > last);
        last = next.timestamp;
    }
}
