//! Puts pods into the network and takes them out.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
};

use serde_json::value::RawValue;
use tokio::time::Instant;
use translate::{
    Invalid,
    cni::{
        cache::{Entry, Record},
        conf::{self, Network},
        plan::{self, Attachment, Invocation, PodName, ValidAttachment},
        result::{self, PluginError, Success},
    },
};

use super::{
    Cni, CniError, CniResult, INTERFACE, InvokeError, PodNetwork, blocking,
    cache::{Cache, Found},
    netns,
};

/// The attachment that cri-dockerd makes beside every pod's own: nothing of it outlives the pod's
/// network namespace, except for its record.
const LOOPBACK: (&str, &str) = ("cni-loopback", "lo");

/// An attachment to be undone, and how.
struct Undo {
    network: Arc<Network>,
    attachment: Attachment,
    result: Option<Box<RawValue>>,
}

impl Cni {
    /// Adds a pod to the network: runs the plugins in order, each with the result of the one before.
    ///
    /// If one fails, it and those before it are told to undo what they did, and nothing is recorded.
    ///
    /// # Errors
    ///
    /// There is no network, the pod cannot be described to plugins, a plugin fails, or `deadline`
    /// passes. The plugin that runs then is killed.
    pub async fn add(&self, pod: &PodNetwork, deadline: Instant) -> Result<CniResult, CniError> {
        let network = self.watch.network_after_all().await?;
        let path = pod.netns.clone();
        blocking(move || netns::is_namespace(&path))
            .await
            .and_then(|checked| checked)
            .map_err(|cause| CniError::Netns {
                path: pod.netns.clone(),
                cause,
            })?;
        let attachment = self.attachment(pod, &pod.netns)?;
        let _permit = self.permit(&self.setups, deadline).await?;

        let mut last: Option<Success> = None;
        for (index, plugin) in network.plugins.iter().enumerate() {
            let previous = last.as_ref().map(|last| &*last.document);
            let invocation = plan::add(&network, plugin, &attachment, previous);
            match self.run_add(&network, &invocation, deadline).await {
                Ok(success) => last = Some(success),
                Err(error) => {
                    self.undo(&network, index + 1, &attachment, previous).await;
                    return Err(error);
                }
            }
        }
        let recorded = match last.filter(|last| !last.addresses.is_empty()) {
            Some(last) => self
                .record(&network, &attachment, last.document.clone())
                .await
                .map_err(|error| (error, Some(last.document)))
                .map(|()| last.addresses),
            None => {
                let network = network.name.clone();
                Err((CniError::NoAddress { network }, None))
            }
        };
        match recorded {
            Ok(addresses) => Ok(CniResult {
                network: network.name.clone(),
                addresses,
            }),
            Err((error, result)) => {
                self.undo(&network, network.plugins.len(), &attachment, result.as_deref())
                    .await;
                Err(error)
            }
        }
    }

    /// Takes a pod out of its network, with the configuration and arguments it was added with, or,
    /// if nothing is recorded, with those of now. May be called again and again.
    ///
    /// A pod of which nothing is recorded while there is no network needs nothing, and the network
    /// namespace may be gone.
    ///
    /// # Errors
    ///
    /// A plugin fails or `deadline` passes; it should be called again then.
    pub async fn del(&self, pod: &PodNetwork, deadline: Instant) -> Result<(), CniError> {
        let _permit = self.permit(&self.teardowns, deadline).await?;
        let current = self.watch.network().ok();
        let found = self.recorded(&pod.sandbox_id, current.as_deref()).await?;
        if found.is_empty() {
            // Never added, or already taken out, or interrupted in the middle of being added.
            let (Some(network), Ok(attachment)) =
                (current.clone(), self.attachment(pod, live_netns(&pod.netns)))
            else {
                tracing::warn!(
                    sandbox = pod.sandbox_id,
                    "nothing is known of the pod's network; leaving it"
                );
                return Ok(());
            };
            let result = None;
            self.del_one(
                &Undo {
                    network,
                    attachment,
                    result,
                },
                deadline,
            )
            .await?;
        }
        for found in found {
            let name = found.network.clone();
            if let Some(undo) = self.undo_of(pod, found, current.clone()) {
                self.del_one(&undo, deadline).await?;
            }
            self.forget(&name, &pod.sandbox_id, INTERFACE).await?;
        }
        self.forget(LOOPBACK.0, &pod.sandbox_id, LOOPBACK.1).await
    }

    /// What is recorded, in this network or in others.
    ///
    /// # Errors
    ///
    /// A record cannot be read.
    pub async fn records(&self) -> Result<Vec<Record>, CniError> {
        self.cached(Cache::records).await
    }

    /// Tells the plugins (from 1.1 on, unless the configuration forbids it) that nothing but what is recorded
    /// of the current network is there.
    ///
    /// # Errors
    ///
    /// There is no network, or everything that failed; what could be done is done.
    pub async fn gc(&self, deadline: Instant) -> Result<(), CniError> {
        let network = self.watch.network()?;
        if network.disable_gc {
            return Ok(());
        }
        // What is being added is not recorded yet, and would be taken for garbage.
        let _alone = self.alone(deadline).await?;
        let records = self.records().await?.into_iter();
        let valid: Vec<_> = records
            .filter(|record| record.network_name == network.name)
            .map(|record| ValidAttachment {
                container_id: record.container_id,
                ifname: record.if_name,
            })
            .collect();
        let mut errors = Vec::new();
        for invocation in plan::gc(&network, &valid) {
            errors.extend(self.run(&network, &invocation, deadline).await.err());
        }
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(CniError::Several(errors)),
        }
    }

    fn attachment(&self, pod: &PodNetwork, netns: &Path) -> Result<Attachment, Invalid> {
        let mut capabilities = pod.capabilities.clone();
        if capabilities.ip_ranges.is_empty() {
            capabilities.ip_ranges = self
                .pod_cidrs
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
        }
        let name = PodName {
            namespace: &pod.namespace,
            name: &pod.name,
            uid: &pod.uid,
            sandbox_id: &pod.sandbox_id,
        };
        let netns = netns
            .to_str()
            .ok_or_else(|| Invalid::new("netns", format!("{} is not UTF-8", netns.display())))?;
        Attachment::new(name, netns, INTERFACE, capabilities.to_fields())
    }

    async fn run(
        &self,
        network: &Network,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<String, CniError> {
        let ran = self.plugins.run(invocation, deadline).await;
        ran.map_err(|cause| plugin_error(network, invocation, cause))
    }

    async fn run_add(
        &self,
        network: &Network,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<Success, CniError> {
        let output = self.run(network, invocation, deadline).await?;
        result::parse(&output, network.version, INTERFACE)
            .map_err(|cause| plugin_error(network, invocation, InvokeError::result(cause, &output)))
    }

    /// Undoes the first `count` plugins of an `ADD` as well as it goes: what they say is logged, as
    /// the caller has an error already, and what fails keeps the others from nothing.
    async fn undo(
        &self,
        network: &Network,
        count: usize,
        attachment: &Attachment,
        result: Option<&RawValue>,
    ) {
        let deadline = Instant::now() + self.undo_limit;
        for invocation in plan::del(network, count, attachment, result) {
            if let Err(error) = self.run(network, &invocation, deadline).await {
                tracing::warn!(sandbox = attachment.container_id, %error, "cannot undo a failed ADD");
            }
        }
    }

    async fn del_one(&self, undo: &Undo, deadline: Instant) -> Result<(), CniError> {
        let Undo {
            network,
            attachment,
            result,
        } = undo;
        for invocation in plan::del(network, network.plugins.len(), attachment, result.as_deref()) {
            match self.plugins.run(&invocation, deadline).await {
                Err(cause) if is_gone(&cause, attachment) => {
                    tracing::info!(
                        sandbox = attachment.container_id,
                        plugin = invocation.plugin,
                        %cause,
                        "the plugin has nothing left to take out"
                    );
                }
                ran => {
                    ran.map_err(|cause| plugin_error(network, &invocation, cause))?;
                }
            }
        }
        Ok(())
    }

    /// How to undo what a file of the cache records. `None`: there is no way, as its configuration
    /// is not known and none has taken its place.
    fn undo_of(&self, pod: &PodNetwork, found: Found, current: Option<Arc<Network>>) -> Option<Undo> {
        match found.entry {
            Some(Entry::Record(record)) => self.undo_of_record(pod, *record, current),
            // Nothing but the result is known, or not even that.
            entry => {
                let network = current?;
                let attachment = self.attachment(pod, live_netns(&pod.netns)).ok()?;
                let result = entry.and_then(|entry| convert(entry.result()?, &network));
                Some(Undo {
                    network,
                    attachment,
                    result,
                })
            }
        }
    }

    fn undo_of_record(
        &self,
        pod: &PodNetwork,
        record: Record,
        current: Option<Arc<Network>>,
    ) -> Option<Undo> {
        let file = format!("cached configuration of sandbox {}", record.container_id);
        let network = match conf::parse_cached(&file, &record.config) {
            Ok(network) => Arc::new(network),
            Err(error) => {
                tracing::warn!(%error, "using the configuration of now");
                current?
            }
        };
        let recorded = Path::new(&record.netns);
        let netns = match live_netns(&pod.netns) {
            // A pin is still the pod's; the process in a path of /proc may be another by now.
            gone if gone.as_os_str().is_empty() && !recorded.starts_with("/proc") => live_netns(recorded),
            live => live,
        };
        Some(Undo {
            result: record
                .result
                .as_deref()
                .and_then(|result| convert(result, &network)),
            attachment: Attachment {
                container_id: record.container_id,
                netns: netns.to_string_lossy().into_owned(),
                ifname: record.if_name,
                args: record.cni_args,
                capabilities: record.capability_args,
            },
            network,
        })
    }

    pub(super) async fn recorded(
        &self,
        sandbox_id: &str,
        current: Option<&Network>,
    ) -> Result<Vec<Found>, CniError> {
        let id = sandbox_id.to_owned();
        let preferred = current.map(|network| network.name.clone());
        self.cached(move |cache| cache.find(&id, INTERFACE, preferred.as_deref()))
            .await
    }

    async fn record(
        &self,
        network: &Network,
        attachment: &Attachment,
        result: Box<RawValue>,
    ) -> Result<(), CniError> {
        let record = Record::new(&network.name, &network.document, attachment, result);
        self.cached(move |cache| cache.write(&record)).await
    }

    async fn forget(&self, network: &str, sandbox_id: &str, ifname: &str) -> Result<(), CniError> {
        let [network, id, ifname] = [network, sandbox_id, ifname].map(str::to_owned);
        self.cached(move |cache| cache.remove(&network, &id, &ifname))
            .await
    }

    /// Works on the cache, where that may block.
    async fn cached<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> Result<T, CniError> + Send + 'static,
    ) -> Result<T, CniError> {
        let cache = self.cache.clone();
        blocking(move || work(&cache))
            .await
            .map_err(|cause| CniError::Cache {
                path: self.cache.dir().to_owned(),
                cause,
            })?
    }
}

fn plugin_error(network: &Network, invocation: &Invocation, cause: InvokeError) -> CniError {
    CniError::Plugin {
        network: network.name.clone(),
        plugin: invocation.plugin.clone(),
        command: invocation.command,
        cause,
    }
}

/// The path if there is a namespace; otherwise the empty path, which tells plugins that it is gone.
fn live_netns(path: &Path) -> &Path {
    if netns::is_namespace(path).is_ok() {
        path
    } else {
        Path::new("")
    }
}

/// The result in the network's version; without one plugins take out what they find.
fn convert(result: &RawValue, network: &Network) -> Option<Box<RawValue>> {
    result::convert(result, network.version)
        .inspect_err(
            |cause| tracing::warn!(network = network.name, %cause, "a recorded CNI result is damaged"),
        )
        .ok()
}

/// Whether a `DEL` failed because there is nothing left: the plugin says so by its error's code, or,
/// once the namespace is gone, by the system's words. Plugins should succeed then, and not all do;
/// a pod could never be removed.
fn is_gone(cause: &InvokeError, attachment: &Attachment) -> bool {
    let nothing_there =
        |text: &str| attachment.netns.is_empty() && text.contains("no such file or directory");
    match cause {
        InvokeError::Reported(reported) => {
            reported.code == PluginError::UNKNOWN_CONTAINER || nothing_there(&reported.to_string())
        }
        InvokeError::Failed { output, .. } => nothing_there(output),
        _ => false,
    }
}
