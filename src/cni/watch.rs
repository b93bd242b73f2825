//! Holds the pods' network: reads the configuration directory again whenever it changes, and asks
//! the network's plugins how they are.
//!
//! A configuration that vanishes or breaks makes the network not ready: a node whose network has
//! been taken away must not get pods. The kernel tells of changes; a slow poll finds what it does
//! not tell (a file system that cannot be watched, a plugin that has been installed meanwhile).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use translate::cni::{
    conf::{self, ConfError, FileKind, Network},
    plan,
};

use super::{CniError, blocking, invoke::Plugins};

/// No configuration is near this size, in bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// Changes come in groups: a file is created, written, renamed.
const SETTLE: Duration = Duration::from_millis(50);
/// How long a call waits for the first answer of a new network's plugins.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// Why pods cannot be added to the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotReady {
    /// For people: what is missing, or which plugin said what.
    pub message: String,
}

type Current = Result<Arc<Network>, NotReady>;

/// The last answer of a network's plugins.
struct Health {
    network: Arc<Network>,
    answer: Result<(), NotReady>,
}

/// The watched network.
pub(super) struct Watch {
    dir: PathBuf,
    plugins: Plugins,
    current: watch::Receiver<Current>,
    health: watch::Receiver<Option<Health>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Watch {
    /// Reads the configuration once, and then follows it.
    pub(super) fn start(dir: PathBuf, plugins: Plugins, poll: Duration, status_limit: Duration) -> Self {
        // Before the first look, so that no change is missed between the two.
        let mut notices = Notices::new(&dir);
        notices.arm(&dir);
        let (sender, current) = watch::channel(load(&dir, &plugins));
        report(&current.borrow());
        let (health_sender, health) = watch::channel(None);
        let follow = follow(dir.clone(), plugins.clone(), poll, notices, sender);
        let ask = ask(
            plugins.clone(),
            current.clone(),
            poll,
            status_limit,
            health_sender,
        );
        Self {
            dir,
            plugins,
            current,
            health,
            tasks: [tokio::spawn(follow), tokio::spawn(ask)],
        }
    }

    /// The network that pods are added to now.
    pub(super) fn network(&self) -> Current {
        self.current.borrow().clone()
    }

    /// The same, looking once more before the answer is that there is none: the folders of plugins are not
    /// watched, and a pod need not wait for the next poll because its plugin came late.
    pub(super) async fn network_after_all(&self) -> Current {
        if let Ok(network) = self.network() {
            return Ok(network);
        }
        let (dir, plugins) = (self.dir.clone(), self.plugins.clone());
        blocking(move || load(&dir, &plugins))
            .await
            .unwrap_or_else(|cause| {
                Err(NotReady {
                    message: cause.to_string(),
                })
            })
    }

    /// Whether there is a network, and whether its plugins are able to add pods.
    pub(super) async fn status(&self) -> Result<(), NotReady> {
        let network = self.network()?;
        if plan::status(&network).is_empty() {
            return Ok(());
        }
        let mut health = self.health.clone();
        let answered = health.wait_for(|health| {
            health
                .as_ref()
                .is_some_and(|health| Arc::ptr_eq(&health.network, &network))
        });
        if let Ok(Ok(health)) = timeout(FIRST_ANSWER, answered).await
            && let Some(health) = &*health
        {
            return health.answer.clone();
        }
        Err(NotReady {
            message: format!(
                "network {:?}: its plugins have not answered STATUS yet",
                network.name
            ),
        })
    }
}

/// Reads the configuration again and again.
async fn follow(
    dir: PathBuf,
    plugins: Plugins,
    poll: Duration,
    mut notices: Notices,
    current: watch::Sender<Current>,
) {
    loop {
        notices.wait(poll).await;
        let (at, with) = (dir.clone(), plugins.clone());
        let loaded = blocking(move || {
            notices.arm(&at);
            let loaded = load(&at, &with);
            (notices, loaded)
        });
        let Ok((armed, loaded)) = loaded.await else { return };
        notices = armed;
        current.send_if_modified(|current| {
            let same = match (&*current, &loaded) {
                (Ok(old), Ok(new)) => old.document == new.document,
                (Err(old), Err(new)) => old == new,
                _ => false,
            };
            if !same {
                report(&loaded);
                *current = loaded;
            }
            !same
        });
    }
}

fn report(current: &Current) {
    match current {
        Ok(network) => tracing::info!(
            network = network.name,
            version = %network.version,
            plugins = network.plugins.iter().map(|plugin| plugin.kind.as_str()).collect::<Vec<_>>().join(","),
            "pods are added to this CNI network"
        ),
        Err(reason) => tracing::warn!(%reason, "there is no CNI network for pods"),
    }
}

/// Asks the plugins again and again, and at once when the network changes.
async fn ask(
    plugins: Plugins,
    mut current: watch::Receiver<Current>,
    poll: Duration,
    limit: Duration,
    health: watch::Sender<Option<Health>>,
) {
    loop {
        let network = current.borrow_and_update().clone().ok();
        if let Some(network) = network.filter(|network| !plan::status(network).is_empty()) {
            let answer = tokio::select! {
                answer = ask_once(&plugins, &network, Instant::now() + limit) => Some(answer),
                // What is being asked about is of no interest any more.
                changed = current.changed() => match changed {
                    Ok(()) => {
                        current.mark_changed();
                        None
                    }
                    Err(_) => return,
                },
            };
            if let Some(answer) = answer {
                health.send_replace(Some(Health { network, answer }));
            }
        }
        tokio::select! {
            () = sleep(poll) => {}
            changed = current.changed() => if changed.is_err() { return },
        }
    }
}

async fn ask_once(plugins: &Plugins, network: &Network, deadline: Instant) -> Result<(), NotReady> {
    for invocation in plan::status(network) {
        if let Err(cause) = plugins.run(&invocation, deadline).await {
            let error = CniError::Plugin {
                network: network.name.clone(),
                plugin: invocation.plugin,
                command: invocation.command,
                cause,
            };
            return Err(NotReady {
                message: error.to_string(),
            });
        }
    }
    Ok(())
}

/// The lexically first usable configuration of a directory: one that can be read and whose plugins
/// are all there. Blocks.
fn load(dir: &Path, plugins: &Plugins) -> Current {
    let not_ready = |message: String| NotReady { message };
    let mut names = match list(dir) {
        Ok(names) => names,
        Err(cause) => {
            return Err(not_ready(format!(
                "cannot read the CNI configuration directory {}: {cause}",
                dir.display()
            )));
        }
    };
    names.retain(|name| FileKind::of(name).is_some());
    let mut problems = Vec::new();
    for name in &names {
        match load_file(dir, name, plugins) {
            Ok(network) => return Ok(Arc::new(network)),
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    Err(not_ready(if problems.is_empty() {
        format!("no CNI configuration in {}", dir.display())
    } else {
        format!(
            "no usable CNI configuration in {}: {}",
            dir.display(),
            problems.join("; ")
        )
    }))
}

fn load_file(dir: &Path, name: &str, plugins: &Plugins) -> Result<Network, ConfError> {
    let text = read(&dir.join(name), name)?;
    let network = if FileKind::of(name) == Some(FileKind::Single) {
        conf::parse_single(name, &text)?
    } else {
        let list = conf::parse_list(name, &text)?;
        let folder = if list.wants_folder() {
            folder(dir, list.name())?
        } else {
            Vec::new()
        };
        list.complete(
            name,
            folder.iter().map(|(name, text)| (name.as_str(), text.as_str())),
        )?
    };
    for plugin in &network.plugins {
        plugins.find(&plugin.kind).map_err(|cause| ConfError {
            file: name.to_owned(),
            field: String::new(),
            why: format!("plugin {:?}: {cause}", plugin.kind),
        })?;
    }
    Ok(network)
}

/// The plugins of a network that have files of their own: names and texts.
fn folder(dir: &Path, network: &str) -> Result<Vec<(String, String)>, ConfError> {
    let names = match list(&dir.join(network)) {
        Err(cause)
            if matches!(
                cause.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        names => names.map_err(|cause| unreadable(network, &cause))?,
    };
    names
        .into_iter()
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "conf")
        })
        .map(|name| {
            let shown = format!("{network}/{name}");
            let text = read(&dir.join(&shown), &shown)?;
            Ok((shown, text))
        })
        .collect()
}

/// The names of a directory's files, sorted.
fn list(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn unreadable(file: &str, cause: &dyn std::fmt::Display) -> ConfError {
    ConfError {
        file: file.to_owned(),
        field: String::new(),
        why: format!("cannot be read: {cause}"),
    }
}

fn read(path: &Path, shown: &str) -> Result<String, ConfError> {
    let found = fs::metadata(path).map_err(|cause| unreadable(shown, &cause))?;
    // A pipe or device in the directory would be read for ever.
    if !found.is_file() {
        return Err(unreadable(shown, &"it is not a file"));
    }
    if found.len() > FILE_LIMIT {
        return Err(unreadable(shown, &format!("it has more than {FILE_LIMIT} bytes")));
    }
    fs::read_to_string(path).map_err(|cause| unreadable(shown, &cause))
}

/// What the kernel tells of the configuration directory.
///
/// Neither it nor its parents may exist yet, and each may be replaced. So the nearest directory
/// that exists is watched, and its parent, where a replacement shows; after every notice the same
/// question is asked again.
struct Notices {
    /// `None` if the kernel has no more watchers to give: then there is the poll.
    events: Option<EventStream<[u8; 4096]>>,
    watched: Vec<WatchDescriptor>,
}

impl Notices {
    fn new(dir: &Path) -> Self {
        let events = Inotify::init().and_then(|inotify| inotify.into_event_stream([0; 4096]));
        Self {
            events: events
                .inspect_err(|cause| {
                    tracing::warn!(dir = %dir.display(), %cause, "cannot watch the CNI configuration; polling it");
                })
                .ok(),
            watched: Vec::new(),
        }
    }

    /// Watches what has to be watched as things are now. Blocks.
    fn arm(&mut self, dir: &Path) {
        let Some(events) = &self.events else { return };
        let names = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let mut watches = events.watches();
        // The same directory has the same descriptor however often it is added.
        let wanted: Vec<WatchDescriptor> = dir
            .ancestors()
            .filter_map(|ancestor| {
                // What is written beside the directory is of no interest.
                let content = if ancestor == dir {
                    WatchMask::CLOSE_WRITE
                } else {
                    WatchMask::empty()
                };
                watches.add(ancestor, names | content).ok()
            })
            .take(2)
            .collect();
        for old in self.watched.drain(..).filter(|old| !wanted.contains(old)) {
            // A directory that is gone has taken its watch with it.
            let _ = watches.remove(old);
        }
        self.watched = wanted;
    }

    /// Waits for a change and for its followers, or for the poll.
    async fn wait(&mut self, poll: Duration) {
        let Some(events) = &mut self.events else {
            return sleep(poll).await;
        };
        match timeout(poll, events.next()).await {
            Ok(Some(Ok(_))) => {
                sleep(SETTLE).await;
                while let Ok(Some(Ok(_))) = timeout(Duration::ZERO, events.next()).await {}
            }
            Err(_) => {}
            Ok(Some(Err(_)) | None) => self.events = None,
        }
    }
}
