//! The options.
//!
//! [`Config`] is their one table: a field's name is its flag and its key in the configuration file, its comment is its help.
//! cri-dockerd's flags keep their names and meanings, so that its unit file starts dockside; what is
//! new here stands beside them. Booleans take `--flag` and `--flag=false`, lists take commas, booleans and durations
//! are written as Go reads them.

mod choice;
mod duration;
pub mod effective;
mod file;
pub mod live;
pub mod load;
mod parse;
pub mod source;
pub mod table;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

pub use choice::{LogFormat, LogLevel, NetworkPlugin, Remember, Restrict};

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
    #[arg(long, value_name = "ENDPOINT", default_value = "unix:///var/run/docker.sock", value_parser = parse::engine_socket, help_heading = "Engine")]
    pub docker_endpoint: PathBuf,

    /// How long one call to the Engine may take; 0 means 1m59s.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse, help_heading = "Engine")]
    pub runtime_request_timeout: Duration,

    /// Whether sandboxes, containers and images are remembered, which spares the Engine all reads: on or off.
    #[arg(long, value_name = "STATE", default_value = "on", help_heading = "Engine")]
    pub store: Remember,

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
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = parse::streaming_address, help_heading = "Streams")]
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
    #[arg(long, value_name = "ADDRESS", value_parser = parse::metrics_address, help_heading = "Serving")]
    pub metrics_bind_addr: Option<SocketAddr>,

    /// Where spans of calls, and of what is done for them, are sent to by OTLP over gRPC: http://HOST:PORT of a collector,
    /// as in the kubelet's `tracing`. Not sent unless given.
    #[arg(long, value_name = "ENDPOINT", value_parser = parse::collector, help_heading = "Tracing")]
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
    #[arg(long, value_name = "CIDRS", value_delimiter = ',', value_parser = parse::cidr, help_heading = "Network")]
    pub pod_cidr: Vec<String>,

    /// The MTU of the bridge of --network-plugin=docker; 0 leaves it to the Engine.
    #[arg(long, value_name = "BYTES", default_value_t = 0, help_heading = "Network")]
    pub network_plugin_mtu: u16,

    /// How messages are written: to stderr, or by auto to the journal where stderr is that.
    #[arg(long, value_name = "FORMAT", default_value = "auto", help_heading = "Logging")]
    pub log_format: LogFormat,

    /// cri-dockerd's; both address families are always reported.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse::boolean)]
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
        value_parser = parse::image,
        help_heading = "Pods"
    )]
    pub pod_infra_container_image: String,

    /// A pull that makes no progress for this long is given up; 0 waits for ever.
    #[arg(long, value_name = "DURATION", default_value = "1m0s", value_parser = duration::parse, help_heading = "Pods")]
    pub image_pull_progress_deadline: Duration,

    /// How large each of the Engine's two files of a container's log may become: they hold what was not copied to the pod's log yet.
    #[arg(long, value_name = "SIZE", default_value = "64m", value_parser = parse::size, help_heading = "Pods")]
    pub container_log_size: String,

    /// Whether a negative oom_score_adj is raised to what the Engine may set: auto, true or false.
    #[arg(long, value_name = "WHEN", default_value = "auto", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Pods")]
    pub restrict_oom_score_adj: Restrict,

    /// The least urgent messages that are logged.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        ignore_case = true,
        help_heading = "Logging"
    )]
    pub log_level: LogLevel,
}

/// The time a call to the Engine may take unless an option says otherwise: a second less than the
/// kubelet waits, so that the reason arrives.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(119);

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
            remember: self.store == Remember::On,
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
