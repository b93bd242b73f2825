//! Puts the daemon together, runs it, and ends it in order.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use cri::{image_service_server::ImageServiceServer, runtime_service_server::RuntimeServiceServer};
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::{
    config::{Config, live::Current},
    container::Containers,
    engine::Engine,
    grpc::{
        detach::Detached,
        image::Image,
        listen::{self, Ending, Listeners},
        runtime::Runtime,
    },
    host::{cgroup::Keeper, open_files, systemd::Notifier},
    image::Images,
    locks::Locks,
    logging::Logging,
    logs::Logs,
    metrics,
    network::{Evidence, Network},
    node::Node,
    reload::{self, Reload},
    sandbox::Sandboxes,
    stats::Stats,
    status::NodeStatus,
    store::{Store, StoreFigures},
    streaming::{protocol::Limits, server::Server as StreamServer},
    trace,
};

/// CRI's limit for one message in either direction; tonic's own is a quarter of it.
const MAX_MESSAGE: usize = 16 << 20;

/// Between two attempts to reach an Engine that is not there yet, or to do what has to be done once.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// What the end takes beside waiting for calls.
const MARGIN: Duration = Duration::from_secs(10);

/// Runs until a signal ends it.
pub async fn run(config: Config, logging: Logging) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "must be run as root: the files, cgroups and network namespaces of pods are root's; try sudo, or `systemctl start dockside`"
        );
    }
    for note in config.without_effect() {
        warn!("option without effect: {note}");
    }
    let notifier = Arc::new(Notifier::from_env());
    if let Err(error) = open_files::raise() {
        warn!("cannot raise the number of files that may be open: {error}");
    }
    let spans = match &config.tracing_endpoint {
        Some(endpoint) => Some(trace::Exporter::start(
            endpoint,
            config.tracing_sampling_rate_per_million,
        )?),
        None => None,
    };
    let live = Current::new(config.live.clone());
    let configuration = reload::configuration(config.effective.clone());
    let _alone = lock_root(&config.root_directory)?;
    let engine = Engine::new(config.docker_endpoint.clone(), config.request_timeout())?;
    let network = Arc::new(Network::new(&config)?);
    let logs = Logs::start().context("start the thread for container logs")?;
    let store = Arc::new(Store::new(
        engine.clone(),
        Arc::clone(&logs),
        config.store_options(),
        live.clone(),
    ));
    let locks = Arc::new(Locks::default());
    let node = Arc::new(Node::new(config.docker_endpoint.clone(), live.clone()));
    let copying = logs.ended().clone();
    let images = Arc::new(Images::new(
        engine.clone(),
        Arc::clone(&store),
        live.clone(),
        &config.root_directory,
    ));
    let streams = StreamServer::bind(
        config.streaming_bind_addr,
        config.stream_certificate(),
        Limits {
            creation: config.stream_creation_timeout,
            idle: config.stream_idle_timeout,
        },
    )
    .await?;
    let metrics = match config.metrics_bind_addr {
        Some(address) => Some(metrics::Server::bind(address).await?),
        None => None,
    };
    let sandboxes = Arc::new(Sandboxes {
        engine: engine.clone(),
        store: Arc::clone(&store),
        locks: Arc::clone(&locks),
        network: Arc::clone(&network),
        images: Arc::clone(&images),
        logs: Arc::clone(&logs),
        node: Arc::clone(&node),
        streaming: streams.streaming(),
    });
    let containers = Arc::new(Containers {
        engine: engine.clone(),
        store: Arc::clone(&store),
        locks,
        images: Arc::clone(&images),
        logs,
        node,
        keeper: Keeper::start().context("watch what is written into cgroups")?,
        live: live.clone(),
        streaming: streams.streaming(),
    });
    let status = Arc::new(NodeStatus {
        engine: engine.clone(),
        network,
        configuration: Arc::clone(&configuration),
    });
    let stats = Stats::new(Arc::clone(&store), Arc::clone(&images))?;
    show_figures(&store);
    let detached = Detached::default();
    let ending = CancellationToken::new();

    let keeper = Arc::clone(&store);
    let keeping = tokio::spawn(Arc::clone(&store).keep());
    let looked = Arc::clone(&images);
    let runtime = Runtime {
        sandboxes: Arc::clone(&sandboxes),
        containers: Arc::clone(&containers),
        store,
        stats: Arc::clone(&stats),
        status,
        detached: detached.clone(),
        ending: ending.clone(),
    };
    let routes = Routes::new(
        RuntimeServiceServer::new(runtime)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE),
    )
    .add_service(
        ImageServiceServer::new(Image {
            images,
            detached: detached.clone(),
        })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE),
    );

    let listeners = Listeners::bind(&config.container_runtime_endpoint).await?;
    let names: Vec<_> = listeners.names().map(str::to_owned).collect();
    info!(
        version = crate::cli::VERSION,
        endpoints = names.join(","),
        streams = %streams.address().context("the address of streams")?,
        "serving CRI"
    );
    let watchdog = Arc::clone(&notifier);
    let watchdog = tokio::spawn(async move { watchdog.keep_alive().await });
    let (terminated, copying_ended) = (terminated()?, copying.clone().cancelled_owned());
    let (manager, limit) = (Arc::clone(&notifier), 2 * config.shutdown_timeout + MARGIN);
    let end = async move {
        tokio::select! {
            () = terminated => {}
            () = copying_ended => {}
        }
        manager.stopping(limit);
        ending.cancel();
    };
    let reload = Reload {
        current: live,
        configuration,
        logging,
        store: Arc::clone(&keeper),
        notifier: Arc::clone(&notifier),
    };
    let reload = tokio::spawn(reload.watch()?);
    notifier.ready();
    let compare = config.store_options().check_interval;
    let greeting = tokio::spawn(async move {
        greet(&engine, &keeper, &notifier).await;
        tidy(&sandboxes, &containers, &looked, compare).await;
    });
    let stop = CancellationToken::new();
    let streaming = tokio::spawn(streams.serve(stop.clone().cancelled_owned()));
    if let Some(server) = metrics {
        serve_metrics(server, stats, stop.clone())?;
    }
    let ending = listen::serve(listeners, routes, end, config.shutdown_timeout).await;
    greeting.abort();
    keeping.abort();
    reload.abort();
    // Streams last for hours; nobody waits for them.
    stop.cancel();
    if let Err(error) = streaming.await {
        warn!("serving streams: {error}");
    }
    // Calls whose callers have gone are not among those that the server waits for.
    let rest = if ending == Ending::Complete {
        config.shutdown_timeout
    } else {
        Duration::ZERO
    };
    match detached.wait(rest).await {
        0 => info!("stopped"),
        left => warn!(left, "stopped while calls were still in flight"),
    }
    if let Some(spans) = spans {
        spans.stop().await;
    }
    watchdog.abort();
    if copying.is_cancelled() {
        // The kubelet would see no container's end any more, and no line. The next dockside goes on with the logs.
        bail!("container logs were not copied any more, for the reason told before");
    }
    Ok(())
}

/// Has the metrics tell what the memory of the Engine's objects has cost.
fn show_figures(store: &Arc<Store>) {
    let figure = |name, help, read: fn(StoreFigures) -> u64| {
        let store = Arc::clone(store);
        metrics::counter(name, help, move || read(store.figures()));
    };
    figure(
        "dockside_store_differences",
        "Objects that were remembered otherwise than the Docker Engine had them; 0 unless dockside is at fault",
        |figures| figures.differences,
    );
    figure(
        "dockside_store_resyncs",
        "How often everything was looked at anew",
        |figures| figures.resyncs,
    );
    figure(
        "dockside_store_inspections",
        "Objects that were inspected because something happened to them",
        |figures| figures.inspections,
    );
}

/// Has metrics served until `stop`.
fn serve_metrics(server: metrics::Server, stats: Arc<Stats>, stop: CancellationToken) -> Result<()> {
    let address = server.address().context("the address of metrics")?;
    if !address.ip().is_loopback() {
        warn!(%address, "metrics can be read by everybody who reaches this address");
    }
    info!(%address, "serving metrics");
    let pods = move || {
        let stats = Arc::clone(&stats);
        async move { stats.exposition().await.map_err(|error| error.to_string()) }
    };
    tokio::spawn(server.serve(pods, stop));
    Ok(())
}

/// Meets the Engine as soon as it is there.
async fn greet(engine: &Engine, store: &Store, notifier: &Notifier) {
    let mut told = false;
    loop {
        match engine.facts().await {
            Ok(facts) => {
                info!(
                    version = facts.version,
                    api = %facts.api,
                    cgroup_driver = ?facts.cgroup_driver,
                    cgroup_version = facts.cgroup_version,
                    "docker engine found"
                );
                notifier.status(&format!("serving CRI on Docker Engine {}", facts.version));
                break;
            }
            Err(error) if !told => {
                warn!("waiting for the docker engine: {error}");
                notifier.status(&format!("waiting for the Docker Engine: {error}"));
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
    // Logs are followed from the first look at all containers on, which without a memory would be a kubelet's.
    while !store.remembers()
        && let Err(error) = store.ask_containers(&cri::ContainerFilter::default()).await
    {
        warn!("cannot go on with the containers' logs: {error}");
        tokio::time::sleep(RETRY).await;
    }
}

/// Takes over what was there before and removes what was lost while dockside was away; networks again at each `interval`.
async fn tidy(sandboxes: &Sandboxes, containers: &Containers, images: &Images, interval: Duration) {
    let resume = || containers.resume();
    let adopt = || sandboxes.adopt();
    let look = || images.sweep();
    tokio::join!(
        until_done("keep what was written into containers' cgroups", resume),
        until_done("adopt sandboxes of another runtime", adopt),
        until_done("remove containers that were made to look into images", look),
        tidy_networks(sandboxes, interval),
    );
}

/// Takes down the networks of sandboxes that are gone, for ever.
async fn tidy_networks(sandboxes: &Sandboxes, interval: Duration) {
    const WHAT: &str = "tidy up the networks of sandboxes that are gone";
    until_done(WHAT, || sandboxes.sweep(Evidence::RecordsAndPins)).await;
    if let Err(error) = sandboxes.collect().await {
        warn!("cannot let plugins forget what is gone: {error}");
    }
    loop {
        tokio::time::sleep(interval).await;
        until_done(WHAT, || sandboxes.sweep(Evidence::Records)).await;
    }
}

/// Repeats what the Engine, or the node, may refuse just now.
async fn until_done<F: Future<Output = crate::error::Result<()>>>(what: &str, step: impl Fn() -> F) {
    let mut pause = RETRY;
    while let Err(error) = step().await {
        warn!("cannot {what}, trying again: {error}");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(RETRY_AT_MOST);
    }
}

/// Takes the root directory for this process alone: two would undo each other's work.
fn lock_root(directory: &Path) -> Result<File> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("make the directory {} (--root-directory)", directory.display()))?;
    let path = directory.join("lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        bail!(
            "another dockside (pid {}) works with {}; stop it, by `systemctl stop dockside` if it is the service, \
             or give this one another --root-directory and --container-runtime-endpoint",
            pid.trim(),
            directory.display()
        );
    }
    let own = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all(own.as_bytes()))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(file)
}

/// Completes at the first signal that asks the process to end.
fn terminated() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: finishing calls in flight"),
            _ = interrupt.recv() => info!("SIGINT: finishing calls in flight"),
        }
    })
}
