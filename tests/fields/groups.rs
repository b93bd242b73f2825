//! Users and groups, of the request and of the image.

use std::{path::Path, time::Duration};

use cri::{Int64Value, LinuxContainerUser, StatusRequest, SupplementalGroupsPolicy as Policy};
use support::Engine;
use tonic::Code;

use super::{Node, context};

type Change = fn(&mut cri::LinuxContainerSecurityContext);

/// The image's user is 1000, who is in the group 50000 there.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_decides_about_the_images_groups() {
    let node = Node::new().await;
    let member = node.daemon.pull("member:latest").await;
    let group: Change = |c| {
        c.run_as_user = Some(Int64Value { value: 1000 });
        c.run_as_group = Some(Int64Value { value: 2000 });
        c.supplemental_groups = vec![3000];
    };
    let none: Change = |c| c.supplemental_groups = vec![3000];
    let cases: [(&str, Change, Policy, i64, &[i64]); 4] = [
        ("merge", none, Policy::Merge, 1000, &[1000, 3000, 50000]),
        ("strict", none, Policy::Strict, 1000, &[1000, 3000]),
        ("merge-group", group, Policy::Merge, 2000, &[2000, 3000, 50000]),
        ("strict-group", group, Policy::Strict, 2000, &[2000, 3000]),
    ];
    for (name, change, policy, gid, groups) in cases {
        let mut config = node.config(name, &member);
        change(context(&mut config));
        context(&mut config).supplemental_groups_policy = policy.into();
        let id = node.run(&config).await;
        let wanted = LinuxContainerUser {
            uid: 1000,
            gid,
            supplemental_groups: groups.to_vec(),
        };
        let status = node.daemon.container_status(&id).await;
        assert_eq!(status.user.unwrap().linux, Some(wanted), "{name}");
        // What is told is what the kernel says of the first process, and of an exec's.
        for process in ["1", "self"] {
            let script = format!("sed -n 's/^Groups:[[:space:]]*//p' /proc/{process}/status");
            let has = node.daemon.sh(&id, &script).await;
            let has: Vec<i64> = has.split_whitespace().map(|gid| gid.parse().unwrap()).collect();
            assert_eq!(has, groups, "{name}, process {process}");
        }
    }
    let request = StatusRequest { verbose: false };
    let status = node.daemon.runtime().status(request).await.unwrap().into_inner();
    assert!(status.features.unwrap().supplemental_groups_policy);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_the_image_does_not_have_are_refused_at_creation() {
    let node = Node::new().await;
    let mut config = node.config("nobody-knows", &node.image);
    context(&mut config).run_as_username = "nobody-knows".into();
    let error = node.refused(&config).await;
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("run_as_username"), "{error}");
    // What was made to look into the image is gone. Its label tells whose it is: other tests look into images, too, and
    // some have the Engine's answers broken off.
    let root = node.daemon.dir().join("root");
    support::eventually("it is removed", Duration::from_secs(30), || {
        let looks = Engine::get().ask(
            "GET",
            "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22io.dockside.look%22%5D%7D",
            None,
        );
        let looks = looks.as_array().unwrap();
        let mut owners = looks
            .iter()
            .map(|look| look["Labels"]["io.dockside.look"].as_str());
        owners
            .all(|owner| owner.map(Path::new) != Some(&root))
            .then_some(())
    });
}
