//! SIGHUP: configuration is read again.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::{
    config::{
        effective::{Change, Effective},
        live::Current,
        load::load,
        table,
    },
    host::systemd::Notifier,
    logging::Logging,
    status::Configuration,
    store::Store,
};

/// What a reload changes.
pub struct Reload {
    /// The values that are asked for at each use.
    pub current: Current,
    /// What `crictl info` shows.
    pub configuration: Configuration,
    /// Messages.
    pub logging: Logging,
    /// What is remembered of the Engine: which images are pinned is among it.
    pub store: Arc<Store>,
    /// The service manager.
    pub notifier: Arc<Notifier>,
}

impl Reload {
    /// Reads configuration again at each SIGHUP, for ever. The signal is watched for from this call on.
    pub fn watch(self) -> Result<impl Future<Output = ()> + Send + 'static> {
        let mut hangup: Signal = signal(SignalKind::hangup()).context("watch for SIGHUP")?;
        Ok(async move {
            while hangup.recv().await.is_some() {
                self.notifier.reloading();
                self.reload();
                self.notifier.ready();
            }
        })
    }

    /// A fault leaves everything as it is.
    fn reload(&self) {
        let cli = match load() {
            Ok(cli) => cli,
            Err(fault) => {
                for line in fault.to_string().lines() {
                    error!("configuration was not reloaded: {line}");
                }
                return;
            }
        };
        let options = cli.options;
        let mut shown = self.configuration.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, later) = changes(&shown, &options.effective);
        for change in &now {
            info!(option = change.key, value = change.value, "option changed");
        }
        for change in &later {
            warn!(
                option = change.key,
                value = change.value,
                "option changes at the next start only: `systemctl restart dockside` disturbs no pod"
            );
        }
        info!(
            changed = now.len(),
            need_restart = later.len(),
            "configuration reloaded"
        );
        let next = shown.with(&now);
        drop(now);
        drop(later);
        *shown = next;
        self.logging.set_level(options.live.log_level);
        self.current.set(options.live);
        self.store.images_changed();
    }
}

/// What changed: what takes effect at once, and what does at the next start.
fn changes<'a>(old: &'a Effective, new: &'a Effective) -> (Vec<Change<'a>>, Vec<Change<'a>>) {
    let entries = table::entries();
    old.changes(new).partition(|change| {
        entries
            .iter()
            .any(|entry| entry.key() == change.key && entry.can_be_reloaded())
    })
}

/// The options in effect, as the start left them.
pub fn configuration(effective: Effective) -> Configuration {
    Arc::new(Mutex::new(effective))
}
