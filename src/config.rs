//! The options.
//!
//! [`Config`] is their one table: a field's name is its flag and its key in the configuration file, its comment is its help.
//! cri-dockerd's flags keep their names and meanings, so that its unit file starts dockside; what is
//! new here stands beside them. Booleans take `--flag` and `--flag=false`, lists take commas, durations
//! are written as Go writes them.

mod duration;
pub mod effective;
mod file;
pub mod live;
pub mod load;
pub mod source;
pub mod table;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use hyper::http::uri::Authority;

use translate::image::ImageReference;

use crate::{grpc::listen::Endpoint, store::StoreOptions, streaming::tls::Files};
use effective::Effective;

/// The options. Each is a field: its flag, its help and its default stand beside it.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where to serve CRI: unix:///path. May be repeated.
    #[arg(
        long,
        value_name = "ENDPOINT",
        value_delimiter = ',',
        default_value = "unix:///var/run/cri-dockerd.sock",
        help_heading = "Serving"
    )]
    pub container_runtime_endpoint: Vec<Endpoint>,

    /// The Docker Engine's socket: unix:///path.
    #[arg(long, value_name = "ENDPOINT", default_value = "unix:///var/run/docker.sock", value_parser = engine_socket, help_heading = "Engine")]
    pub docker_endpoint: PathBuf,

    /// How long one call to the Engine may take; 0 means 1m59s.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse, help_heading = "Engine")]
    pub runtime_request_timeout: Duration,

    /// Whether sandboxes, containers and images are remembered, which spares the Engine all reads: on or off.
    #[arg(long, value_name = "STATE", default_value = "on", help_heading = "Engine")]
    pub store: Switch,

    /// How often what is remembered, and the networks of pods, are compared with the Engine.
    #[arg(long, value_name = "DURATION", default_value = "5m0s", value_parser = duration::parse, help_heading = "Engine")]
    pub store_check_interval: Duration,

    /// Where dockside keeps its own files.
    #[arg(
        long,
        value_name = "DIR",
        alias = "cri-dockerd-root-directory",
        default_value = "/var/lib/dockside",
        help_heading = "Serving"
    )]
    pub root_directory: PathBuf,

    /// How long calls in flight may go on after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse, help_heading = "Serving")]
    pub shutdown_timeout: Duration,

    /// Where exec, attach and port-forward are served, on this node alone by default: ADDRESS:PORT, or a port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = streaming_address, help_heading = "Streams")]
    pub streaming_bind_addr: SocketAddr,

    /// Serve them by TLS with this certificate, in PEM, with those that vouch for it. Read again when it changes.
    #[arg(
        long,
        value_name = "FILE",
        requires = "stream_tls_key",
        help_heading = "Streams"
    )]
    pub stream_tls_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "stream_tls_cert",
        help_heading = "Streams"
    )]
    pub stream_tls_key: Option<PathBuf>,

    /// How long a client may take to open its streams.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse, help_heading = "Streams")]
    pub stream_creation_timeout: Duration,

    /// Streams on which nothing comes or goes for this long are closed.
    #[arg(long, value_name = "DURATION", default_value = "4h", value_parser = duration::parse, help_heading = "Streams")]
    pub stream_idle_timeout: Duration,

    /// Where metrics are served over HTTP, at /metrics and /metrics/pods: ADDRESS:PORT, or a port of this node's
    /// own address. Not served unless given. Whoever can connect can read them.
    #[arg(long, value_name = "ADDRESS", value_parser = metrics_address, help_heading = "Serving")]
    pub metrics_bind_addr: Option<SocketAddr>,

    /// Where spans of calls, and of what is done for them, are sent to by OTLP over gRPC: http://HOST:PORT of a collector,
    /// as in the kubelet's `tracing`. Not sent unless given.
    #[arg(long, value_name = "ENDPOINT", value_parser = collector, help_heading = "Tracing")]
    pub tracing_endpoint: Option<String>,

    /// How many in a million of the calls that the caller does not trace are traced; a kubelet's traces always go on.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000), help_heading = "Tracing")]
    pub tracing_sampling_rate_per_million: u32,

    /// What a running dockside takes new values of.
    #[command(flatten)]
    pub live: Live,

    /// Who connects pods: cni, or docker for a bridge of the Engine's.
    #[arg(long, value_name = "PLUGIN", default_value = "cni", help_heading = "Network")]
    pub network_plugin: NetworkPlugin,

    /// Where CNI network configurations are looked for.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/etc/cni/net.d",
        help_heading = "Network"
    )]
    pub cni_conf_dir: PathBuf,

    /// Where CNI plugins are looked for, in this order.
    #[arg(
        long,
        value_name = "DIRS",
        value_delimiter = ',',
        default_value = "/opt/cni/bin,/usr/lib/cni",
        help_heading = "Network"
    )]
    pub cni_bin_dir: Vec<PathBuf>,

    /// Where CNI results are kept, in libcni's format.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/cni/cache",
        help_heading = "Network"
    )]
    pub cni_cache_dir: PathBuf,

    /// The pods' address range, one per family: for CNI plugins that take ipRanges, and for the bridge of --network-plugin=docker.
    #[arg(long, value_name = "CIDRS", value_delimiter = ',', value_parser = cidr, help_heading = "Network")]
    pub pod_cidr: Vec<String>,

    /// The MTU of the bridge of --network-plugin=docker; 0 leaves it to the Engine.
    #[arg(long, value_name = "BYTES", default_value_t = 0, help_heading = "Network")]
    pub network_plugin_mtu: u16,

    /// How messages are written: to stderr, or by auto to the journal where stderr is that.
    #[arg(long, value_name = "FORMAT", default_value = "auto", help_heading = "Logging")]
    pub log_format: LogFormat,

    /// cri-dockerd's; both address families are always reported.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ipv6_dual_stack: Option<bool>,

    /// cri-dockerd's, for kubenet.
    #[arg(long, hide = true)]
    hairpin_mode: Option<String>,

    /// cri-dockerd's; moves dockerd into a cgroup.
    #[arg(long, hide = true)]
    runtime_cgroups: Option<String>,

    /// All of them as they were given, and by whom.
    #[arg(skip)]
    pub effective: Effective,
}

/// The options that SIGHUP reloads.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Live {
    /// The image of the container that holds a pod's namespaces.
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "registry.k8s.io/pause:3.10",
        value_parser = image,
        help_heading = "Pods"
    )]
    pub pod_infra_container_image: String,

    /// A pull that makes no progress for this long is given up; 0 waits for ever.
    #[arg(long, value_name = "DURATION", default_value = "1m0s", value_parser = duration::parse, help_heading = "Pods")]
    pub image_pull_progress_deadline: Duration,

    /// How large each of the Engine's two files of a container's log may become: they hold what was not copied to the pod's log yet.
    #[arg(long, value_name = "SIZE", default_value = "64m", value_parser = size, help_heading = "Pods")]
    pub container_log_size: String,

    /// Whether a negative oom_score_adj is raised to what the Engine may set: auto, true or false.
    #[arg(long, value_name = "WHEN", default_value = "auto", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Pods")]
    pub restrict_oom_score_adj: Restrict,

    /// The least urgent messages that are logged.
    #[arg(long, value_name = "LEVEL", default_value = "info", help_heading = "Logging")]
    pub log_level: LogLevel,
}

/// The time a call to the Engine may take unless an option says otherwise: a second less than the
/// kubelet waits, so that the reason arrives.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(119);

/// Who connects pods to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkPlugin {
    /// CNI plugins.
    Cni,
    /// A bridge network of the Engine's.
    #[value(alias = "no-op", alias = "")]
    Docker,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// When a negative `oom_score_adj` is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Restrict {
    /// Where the Engine's process lacks the capability to set it.
    Auto,
    /// Always.
    True,
    /// Never.
    False,
}

/// The least urgent messages that are logged; the Go program's names are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Every call to the Engine.
    Debug,
    /// What an administrator should know.
    Info,
    /// What looks wrong.
    #[value(alias = "warning")]
    Warn,
    /// What failed.
    #[value(alias = "fatal", alias = "panic")]
    Error,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// To the journal with their fields where stderr leads there, else `logfmt`.
    Auto,
    /// `key=value`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The time limit of one call to the Engine.
    pub fn request_timeout(&self) -> Duration {
        if self.runtime_request_timeout.is_zero() {
            REQUEST_TIMEOUT
        } else {
            self.runtime_request_timeout
        }
    }

    /// How the memory of the node is kept.
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions {
            remember: self.store == Switch::On,
            check_interval: self.store_check_interval.max(Duration::from_secs(1)),
        }
    }

    /// The pods' address ranges.
    pub fn pod_cidrs(&self) -> Vec<String> {
        self.pod_cidr
            .iter()
            .filter(|cidr| !cidr.is_empty())
            .cloned()
            .collect()
    }

    /// The certificate for streams, if they are served by TLS.
    pub fn stream_certificate(&self) -> Option<Files> {
        Some(Files {
            certificate: self.stream_tls_cert.clone()?,
            key: self.stream_tls_key.clone()?,
        })
    }

    /// Options that were given and have no effect, each with the reason.
    pub fn without_effect(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.ipv6_dual_stack == Some(false) {
            notes.push(
                "--ipv6-dual-stack=false: every address that the network gives a pod is reported".into(),
            );
        }
        if self.hairpin_mode.as_deref().is_some_and(|mode| mode != "none") {
            notes.push("--hairpin-mode: belongs to kubenet; a CNI bridge plugin has hairpinMode in its configuration".into());
        }
        if self
            .runtime_cgroups
            .as_deref()
            .is_some_and(|cgroup| !cgroup.is_empty())
        {
            notes.push(
                "--runtime-cgroups: set Slice= in docker.service and containerd.service instead".into(),
            );
        }
        if self.network_plugin == NetworkPlugin::Cni && self.network_plugin_mtu != 0 {
            notes.push("--network-plugin-mtu: a CNI plugin has mtu in its configuration".into());
        }
        if self.tracing_endpoint.is_none() && self.tracing_sampling_rate_per_million != 0 {
            notes.push(
                "--tracing-sampling-rate-per-million: nothing is traced without --tracing-endpoint".into(),
            );
        }
        notes
    }
}

fn engine_socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err(
            "expected unix:///path: pods need an Engine on this node, whose files and processes can be seen"
                .into(),
        )
    }
}

fn image(text: &str) -> Result<String, String> {
    match ImageReference::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.why),
    }
}

/// A size as the Engine reads it; files of less than 10 kB would be rotated faster than they can be read.
fn size(text: &str) -> Result<String, String> {
    let parse = || {
        let digits = text.trim_end_matches(['k', 'm', 'g']);
        let unit = match &text[digits.len()..] {
            "" => 1,
            "k" => 1000,
            "m" => 1_000_000,
            "g" => 1_000_000_000,
            _ => return None,
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .parse::<u64>()
            .ok()
            .filter(|_| plain)?
            .checked_mul(unit)
            .filter(|bytes| *bytes >= 10_000)
    };
    parse()
        .map(|_| text.to_owned())
        .ok_or_else(|| "expected a size of 10k or more, such as 64m".into())
}

/// An address and a port, of which either may be left out. Without an address, and as cri-dockerd's default,
/// which is empty, it is this node's own: what is served there needs no password.
fn streaming_address(text: &str) -> Result<SocketAddr, String> {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.is_empty() {
        return Ok(SocketAddr::new(local, 0));
    }
    let text = text.replace("localhost", "127.0.0.1");
    let alone = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    text.parse()
        .ok()
        .or_else(|| Some(SocketAddr::new(local, port.parse().ok()?)))
        .or_else(|| Some(SocketAddr::new(alone(&text)?, 0)))
        .ok_or_else(|| "expected an address and a port such as 127.0.0.1:10010, or one of them".into())
}

/// An address and a port, or a port alone, which is this node's own address then.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let port = text.strip_prefix(':').unwrap_or(text);
    let text = text.replace("localhost", "127.0.0.1");
    text.parse()
        .ok()
        .or_else(|| Some(SocketAddr::new(local, port.parse().ok()?)))
        .ok_or_else(|| "expected an address and a port such as 127.0.0.1:9410, or a port".into())
}

/// The collector of traces, as the exporter wants it: with a scheme, and with a port, which is OTLP's unless told otherwise.
fn collector(text: &str) -> Result<String, String> {
    let parse = || {
        let text = match text.split_once("://") {
            Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(_) => return None,
            None => text,
        };
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        // Nothing but a port may stand beside the host.
        let port = match text.strip_prefix(host)? {
            "" => 4317,
            rest => rest
                .strip_prefix(':')?
                .parse()
                .ok()
                .filter(|port: &u16| *port != 0)?,
        };
        (!host.is_empty()).then(|| format!("http://{host}:{port}"))
    };
    parse().ok_or_else(|| {
        "expected http://HOST:PORT of a collector that takes OTLP over gRPC without TLS, such as http://127.0.0.1:4317"
            .into()
    })
}

/// An address range such as `10.85.0.0/16`.
fn cidr(text: &str) -> Result<String, String> {
    // cri-dockerd's default, which a unit file may spell out.
    if text.is_empty() {
        return Ok(String::new());
    }
    let parse = || {
        let (address, length) = text.split_once('/')?;
        let most = if address.parse::<IpAddr>().ok()?.is_ipv4() {
            32
        } else {
            128
        };
        (length.parse::<u8>().ok()? <= most).then_some(())
    };
    parse()
        .map(|()| text.to_owned())
        .ok_or_else(|| "expected an address range such as 10.85.0.0/16".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
    fn a_collector_is_named_as_in_the_kubelet_or_by_a_url() {
        for (text, expected) in [
            ("localhost:4317", Some("http://localhost:4317")),
            ("http://127.0.0.1:4400", Some("http://127.0.0.1:4400")),
            ("http://collector.example/", Some("http://collector.example:4317")),
            ("[::1]:1", Some("http://[::1]:1")),
            ("", None),
            (":4317", None),
            ("a:", None),
            ("a:x", None),
            ("a:70000", None),
            ("user@a:4317", None),
            ("http://a:4317/v1/traces", None),
            ("grpc://a:4317", None),
            ("unix:///run/otel.sock", None),
        ] {
            assert_eq!(collector(text).ok().as_deref(), expected, "{text:?}");
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
}
