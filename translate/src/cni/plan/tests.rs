#![allow(clippy::unwrap_used)]

use super::*;
use crate::cni::conf::parse_list;

fn network(version: &str, more: &str) -> Network {
    let text = format!(
        r#"{{"cniVersion":"{version}","name":"pods",{more}"plugins":[
            {{"type":"bridge","name":"other","mtu":1500.0,"z":{{"b":1,"a":2}}}},
            {{"type":"portmap","snat":true,"capabilities":{{"portMappings":true,"bandwidth":false}}}},
            {{"type":"tuning"}}
        ]}}"#
    );
    parse_list("x", &text).unwrap().complete("x", []).unwrap()
}

fn attachment() -> Attachment {
    let pod = PodName {
        namespace: "default",
        name: "web-0",
        uid: "u-1",
        sandbox_id: "abc",
    };
    let capabilities = Fields::from([
        ("portMappings".to_owned(), raw(&[1])),
        ("bandwidth".to_owned(), raw(&2)),
        ("aliases".to_owned(), raw(&["a"])),
    ]);
    Attachment::new(pod, "/run/netns/x", "eth0", capabilities).unwrap()
}

fn result() -> Box<RawValue> {
    RawValue::from_string(r#"{"ips": [ ],"later":1.0}"#.to_owned()).unwrap()
}

#[test]
fn a_plugin_gets_its_own_fields_and_those_of_the_network() {
    let network = network("1.0.0", "");
    let invocation = add(&network, &network.plugins[0], &attachment(), None);
    assert_eq!(
        invocation.stdin,
        r#"{"cniVersion":"1.0.0","mtu":1500.0,"name":"pods","type":"bridge","z":{"b":1,"a":2}}"#
    );
    let result = result();
    let invocation = add(&network, &network.plugins[1], &attachment(), Some(&result));
    assert_eq!(
        invocation.stdin,
        concat!(
            r#"{"capabilities":{"portMappings":true,"bandwidth":false},"cniVersion":"1.0.0","name":"pods","#,
            r#""prevResult":{"ips": [ ],"later":1.0},"runtimeConfig":{"portMappings":[1]},"#,
            r#""snat":true,"type":"portmap"}"#
        )
    );
    assert_eq!(invocation.plugin, "portmap");
    assert_eq!(
        invocation.env,
        [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "abc"),
            ("CNI_NETNS", "/run/netns/x"),
            ("CNI_IFNAME", "eth0"),
            (
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;\
                 K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u-1"
            ),
        ]
        .map(|(name, value)| (name, value.to_owned()))
    );
}

#[test]
fn order_and_results_follow_the_version() {
    let order = |plan: &[Invocation]| plan.iter().map(|i| i.plugin.clone()).collect::<Vec<_>>();
    let with_result = |plan: &[Invocation]| plan.iter().filter(|i| i.stdin.contains("prevResult")).count();
    let result = result();
    for (version, results) in [("0.3.1", 0), ("0.4.0", 3), ("1.1.0", 3)] {
        let network = network(version, "");
        let plan = del(&network, 3, &attachment(), Some(&result));
        assert_eq!(order(&plan), ["tuning", "portmap", "bridge"]);
        assert_eq!(with_result(&plan), results, "{version}");
    }
    let network = network("1.0.0", "");
    assert_eq!(
        order(&del(&network, 2, &attachment(), None)),
        ["portmap", "bridge"]
    );
}

#[test]
fn status_and_gc_are_for_1_1() {
    let valid = [ValidAttachment {
        container_id: "abc".to_owned(),
        ifname: "eth0".to_owned(),
    }];
    assert!(status(&network("1.0.0", "")).is_empty());
    assert!(gc(&network("1.0.0", ""), &valid).is_empty());
    assert!(gc(&network("1.1.0", r#""disableGC":true,"#), &valid).is_empty());
    let plan = status(&network("1.1.0", ""));
    assert_eq!(plan.len(), 3);
    assert_eq!(
        plan[2].stdin,
        r#"{"cniVersion":"1.1.0","name":"pods","type":"tuning"}"#
    );
    assert_eq!(plan[2].env[0], ("CNI_COMMAND", "STATUS".to_owned()));
    assert_eq!(plan[2].env[1], ("CNI_CONTAINERID", String::new()));
    let plan = gc(&network("1.1.0", ""), &valid);
    assert_eq!(
        plan[2].stdin,
        concat!(
            r#"{"cni.dev/attachments":[{"containerID":"abc","ifname":"eth0"}],"#,
            r#""cni.dev/valid-attachments":[{"containerID":"abc","ifname":"eth0"}],"#,
            r#""cniVersion":"1.1.0","name":"pods","type":"tuning"}"#
        )
    );
    assert!(
        gc(&network("1.1.0", ""), &[])[0]
            .stdin
            .contains(r#""cni.dev/valid-attachments":[]"#)
    );
}

#[test]
fn what_cannot_be_told_to_a_plugin_is_refused() {
    let pod = |name, sandbox_id| PodName {
        namespace: "n",
        name,
        uid: "",
        sandbox_id,
    };
    let of = |name, id, ifname| {
        Attachment::new(pod(name, id), "", ifname, Fields::new())
            .map(|_| ())
            .map_err(|error| error.field)
    };
    assert_eq!(of("web", "abc", "eth0"), Ok(()));
    for name in ["a;K8S_POD_UID=x", "a=b", "a\0b", "a\nb"] {
        assert_eq!(of(name, "abc", "eth0"), Err("config.metadata.name".to_owned()));
    }
    for id in ["", "../x", "-a", "a/b"] {
        assert_eq!(of("web", id, "eth0"), Err("pod_sandbox_id".to_owned()));
    }
    for ifname in ["", "..", "a/b", "a:b", "a b", "0123456789abcdef"] {
        assert_eq!(of("web", "abc", ifname), Err("interface".to_owned()));
    }
}
