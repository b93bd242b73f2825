//! Mounts of what has a label of its own.

use std::{fs, os::unix::fs::symlink};

use cri::{
    Mount,
    MountPropagation::{self, PropagationBidirectional, PropagationHostToContainer, PropagationPrivate},
};

use super::{another, attempt, context, enforcing, file_label, files_of, folder, mount, privileged, refused};
use crate::node::{STATE, cri, run, run_container};

pub(crate) async fn mounts_are_labelled_where_it_is_asked_for() {
    enforcing();
    let plain = folder("plain");
    let before = file_label(&plain);
    let pod = run_container("mounts", privileged, |config| {
        config.mounts = vec![mount(&plain, "/plain", false), mount("/etc", "/node", false)];
    });
    let pod = pod.await;
    let said = attempt(
        &pod.container,
        "cat /plain/file; touch /plain/new; ls /plain; cat /node/shadow",
    )
    .await;
    assert_eq!(said.matches("Permission denied").count(), 4, "{said}");
    assert_eq!(file_label(&plain), before);

    let files = files_of(&pod.container);
    let volumes = ["writable", "read-only", "from-host", "with:colon", "both-ways"].map(folder);
    let [writable, read_only, from_host, colon, both_ways] = &volumes;
    fs::create_dir_all(format!("{writable}/below/it")).unwrap();
    let asks = |mount: Mount, readonly: bool, propagation: MountPropagation| Mount {
        readonly,
        propagation: propagation.into(),
        ..mount
    };
    let single = format!("{}/file", folder("single"));
    let link = format!("{STATE}/selinux/link");
    symlink(folder("target"), &link).unwrap();
    let id = another(&pod, "relabelled", |config| {
        config.mounts = vec![
            asks(mount(writable, "/writable", true), false, PropagationPrivate),
            asks(mount(read_only, "/read-only", true), true, PropagationPrivate),
            asks(
                mount(from_host, "/from-host", true),
                true,
                PropagationHostToContainer,
            ),
            mount(colon, "/colon", true),
            mount(&single, "/single", true),
            mount(&link, "/link", true),
            mount(&format!("{STATE}/selinux/made"), "/made", true),
        ];
    });
    let id = id.await;
    let can = "cat /writable/file /read-only/file /from-host/file /colon/file /single /link/file && \
               touch /writable/new /writable/below/it/new /colon/new /link/new /made/new && echo more >>/single";
    assert_eq!(cri().sh(&id, can).await, "mine\n".repeat(6).trim());
    let said = attempt(&id, "touch /read-only/new; touch /from-host/new").await;
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
    for path in volumes[..4].iter().map(|path| format!("{path}/file")).chain([
        format!("{writable}/below/it/new"),
        format!("{STATE}/selinux/target/new"),
        format!("{STATE}/selinux/made"),
        single,
    ]) {
        assert_eq!(file_label(&path), files, "{path}");
    }
    // What is mounted later has a label of its own, and is seen where it was asked to be.
    fs::create_dir_all(format!("{from_host}/later")).unwrap();
    run(&["mount", "--bind", &plain, &format!("{from_host}/later")]);
    let said = attempt(&id, "cat /from-host/later/file").await;
    run(&["umount", &format!("{from_host}/later")]);
    assert!(said.contains("Permission denied"), "{said}");
    let both = another(&pod, "both-ways", |config| {
        context(config).privileged = true;
        let both_ways = mount(both_ways, "/both-ways", true);
        config.mounts = vec![asks(both_ways, false, PropagationBidirectional)];
    });
    cri()
        .sh(
            &both.await,
            "mkdir /both-ways/at && mount -t tmpfs none /both-ways/at",
        )
        .await;
    run(&["umount", &format!("{both_ways}/at")]);
    assert_eq!(file_label(&format!("{both_ways}/file")), files);

    let labels = || ["/", "/usr", "/etc", "/var/lib", "/usr/bin/env"].map(file_label);
    let before = labels();
    for path in [
        "/",
        "/usr",
        "/usr/",
        "/etc",
        "/etc/../var/lib",
        "/bin",
        "/usr/bin",
    ] {
        let status = refused(&pod, "node", |config| {
            config.mounts = vec![mount(path, "/node", true)]
        })
        .await;
        assert!(
            status.message().contains("part of the node itself"),
            "{path}: {status}"
        );
    }
    assert_eq!(labels(), before);
    pod.remove().await;
    fs::remove_dir_all(format!("{STATE}/selinux")).unwrap();
}
