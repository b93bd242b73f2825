use clap::Parser;

use super::*;
use crate::cli::Cli;

fn parse(flags: &[&str]) -> Result<Config, clap::Error> {
    Cli::try_parse_from([&["dockside"], flags].concat()).map(|cli| cli.options)
}

#[test]
fn the_command_line_of_cri_dockerd_is_understood() {
    let config = parse(&[
        "--container-runtime-endpoint",
        "unix:///run/a.sock",
        "--container-runtime-endpoint=unix:///run/b.sock",
        "--docker-endpoint=unix:///run/docker.sock",
        "--cri-dockerd-root-directory=/var/lib/cri-dockerd",
        "--pod-infra-container-image=registry.k8s.io/pause:3.9",
        "--image-pull-progress-deadline=2m30s",
        "--network-plugin=cni",
        "--cni-bin-dir=/opt/cni/bin,/usr/lib/cni",
        "--ipv6-dual-stack",
        "--hairpin-mode=none",
        "--runtime-request-timeout=0",
        "--pod-cidr=",
        "--log-level=warning",
    ])
    .unwrap();
    assert_eq!(config.container_runtime_endpoint.len(), 2);
    assert_eq!(config.cni_bin_dir.len(), 2);
    assert_eq!(config.pod_cidrs(), [""; 0]);
    assert_eq!(config.live.image_pull_progress_deadline, Duration::from_secs(150));
    assert_eq!(config.request_timeout(), REQUEST_TIMEOUT);
    assert!(config.without_effect().is_empty());
}

/// Whole lines of units in the field: those that are installed must start dockside as they are.
#[test]
fn units_of_cri_dockerd_are_understood() {
    let expected = |line: &str| {
        let flags: Vec<_> = line.split_whitespace().skip(1).collect();
        parse(&flags).unwrap_or_else(|error| panic!("{line}: {error}"))
    };
    // Its own packages', of today and of before.
    for line in [
        "/usr/bin/cri-dockerd --container-runtime-endpoint fd://",
        "/usr/bin/cri-dockerd --container-runtime-endpoint fd:// --network-plugin=",
    ] {
        let config = expected(line);
        assert_eq!(
            config.container_runtime_endpoint,
            [Endpoint::Activation],
            "{line}"
        );
        let bridge = line.ends_with('=');
        assert_eq!(config.network_plugin == NetworkPlugin::Docker, bridge, "{line}");
        assert!(config.without_effect().is_empty(), "{line}");
    }
    // minikube's.
    let config = expected(
        "/usr/bin/cri-dockerd --container-runtime-endpoint fd:// \
         --pod-infra-container-image=registry.k8s.io/pause:3.10 --network-plugin=cni --hairpin-mode=hairpin-veth",
    );
    assert_eq!(
        config.live.pod_infra_container_image,
        "registry.k8s.io/pause:3.10"
    );
    assert_eq!(config.without_effect().len(), 1, "{:?}", config.without_effect());
    // Kubespray's, of one family and of two, with its log levels.
    for (more, ranges, level) in [
        ("--pod-cidr=10.233.64.0/18 --log-level info", 1, LogLevel::Info),
        (
            "--pod-cidr=10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112 --log-level INFO --ipv6-dual-stack=True",
            2,
            LogLevel::Info,
        ),
        ("--pod-cidr=10.233.64.0/18 --log-level debug", 1, LogLevel::Debug),
    ] {
        let config = expected(&format!(
            "/usr/local/bin/cri-dockerd --container-runtime-endpoint unix:///var/run/cri-dockerd.sock \
             --cni-conf-dir=/etc/cni/net.d --cni-bin-dir=/opt/cni/bin --network-plugin=cni \
             --pod-infra-container-image=registry.k8s.io/pause:3.10 {more}"
        ));
        assert_eq!(config.pod_cidrs().len(), ranges, "{more}");
        assert_eq!(config.live.log_level, level, "{more}");
        assert!(config.without_effect().is_empty(), "{more}");
    }
}

#[test]
fn booleans_and_levels_are_written_as_in_go() {
    for (text, expected) in [
        ("1", Restrict::True),
        ("t", Restrict::True),
        ("T", Restrict::True),
        ("true", Restrict::True),
        ("TRUE", Restrict::True),
        ("True", Restrict::True),
        ("0", Restrict::False),
        ("f", Restrict::False),
        ("F", Restrict::False),
        ("false", Restrict::False),
        ("FALSE", Restrict::False),
        ("False", Restrict::False),
        ("auto", Restrict::Auto),
    ] {
        let restrict = format!("--restrict-oom-score-adj={text}");
        let config = parse(&[restrict.as_str()]).unwrap();
        assert_eq!(config.live.restrict_oom_score_adj, expected, "{text}");
        if expected != Restrict::Auto {
            let dual_stack = format!("--ipv6-dual-stack={text}");
            let config = parse(&[dual_stack.as_str()]).unwrap();
            assert_eq!(config.ipv6_dual_stack, Some(expected == Restrict::True), "{text}");
        }
    }
    for (text, expected) in [
        ("panic", LogLevel::Error),
        ("FATAL", LogLevel::Error),
        ("Error", LogLevel::Error),
        ("Warning", LogLevel::Warn),
        ("warning", LogLevel::Warn),
        ("WARN", LogLevel::Warn),
        ("INFO", LogLevel::Info),
        ("Debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ] {
        let config = parse(&["--log-level", text]).unwrap();
        assert_eq!(config.live.log_level, expected, "{text}");
    }
}

#[test]
fn of_an_option_given_twice_the_last_counts() {
    let config = parse(&["--cni-conf-dir=/a", "--pod-cidr=10.0.0.0/8", "--cni-conf-dir=/b"]).unwrap();
    assert_eq!(config.cni_conf_dir, PathBuf::from("/b"));
}

#[test]
fn wrong_values_are_named() {
    for (flags, part) in [
        (["--docker-endpoint=tcp://10.0.0.1:2375"], "expected unix:///path"),
        (["--image-pull-progress-deadline=soon"], "expected a duration"),
        (["--pod-cidr=10.0.0.0"], "expected an address range"),
        (["--ipv6-dual-stack=yes"], "expected true or false"),
        (["--network-plugin=kubenet"], "cni, docker"),
        (["--container-log-size=64mm"], "expected a size"),
        (["--container-log-size=9999"], "expected a size"),
        (["--streaming-bind-addr=node:x"], "expected an address and a port"),
        (
            ["--streaming-bind-addr=127.0.0.1:70000"],
            "expected an address and a port",
        ),
        (["--stream-tls-cert=/cert.pem"], "--stream-tls-key"),
        (["--stream-tls-key=/key.pem"], "--stream-tls-cert"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--tracing-endpoint=https://a:4317"], "expected http://HOST:PORT"),
        (["--tracing-endpoint=a:0"], "expected http://HOST:PORT"),
        (["--tracing-sampling-rate-per-million=1000001"], "0..=1000000"),
    ] {
        let error = parse(&flags).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn streams_are_served_on_this_node_unless_told_otherwise() {
    for (flag, address) in [
        ("", "127.0.0.1:0"),
        (":10010", "127.0.0.1:10010"),
        ("10010", "127.0.0.1:10010"),
        ("127.0.0.1:10010", "127.0.0.1:10010"),
        ("localhost:10010", "127.0.0.1:10010"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("[::1]:80", "[::1]:80"),
        ("10.0.0.1", "10.0.0.1:0"),
        ("::1", "[::1]:0"),
    ] {
        let config = parse(&[&format!("--streaming-bind-addr={flag}")]).unwrap();
        assert_eq!(config.streaming_bind_addr.to_string(), address, "{flag:?}");
    }
}

#[test]
fn options_without_effect_say_so() {
    let config = parse(&[
        "--hairpin-mode=hairpin-veth",
        "--runtime-cgroups=/x",
        "--ipv6-dual-stack=false",
        "--tracing-sampling-rate-per-million=1",
    ])
    .unwrap();
    assert_eq!(config.without_effect().len(), 4);
}
