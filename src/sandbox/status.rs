use std::collections::BTreeMap;

use serde_json::json;
use translate::status;

use super::Sandboxes;
use crate::{clock, error::Result};

impl Sandboxes {
    /// One sandbox.
    pub async fn status(&self, id: &str, verbose: bool) -> Result<cri::PodSandboxStatusResponse> {
        let timestamp = clock::now();
        let (view, members) = self.store.pod(id).await?;
        let (sandbox, inspect) = (&view.sandbox, &view.inspect);
        let addresses = if sandbox.host_network {
            Vec::new()
        } else {
            self.network.addresses(inspect).await?
        };
        let mut status = status::sandbox(inspect, &sandbox.record, &addresses);
        if addresses.is_empty() && !sandbox.host_network {
            // Without its network a sandbox is of no use: the kubelet is to make a new one.
            status.state = cri::PodSandboxState::SandboxNotready.into();
        }
        let mut info = BTreeMap::new();
        if verbose {
            let text = json!({
                "pid": inspect.state.pid,
                "name": inspect.name.trim_start_matches('/'),
                "image": inspect.config.image,
                "cgroupParent": inspect.host_config.cgroup_parent,
                "runtime": inspect.host_config.runtime,
                "networkNamespace": inspect.network_settings.sandbox_key,
                "config": sandbox.record.config,
            });
            info.insert("info".to_owned(), text.to_string());
        }
        // A kubelet that gets a time takes the containers from here, one that gets none asks for each.
        let (timestamp, containers_statuses) = match members {
            Some(members) => (timestamp, self.statuses(&members).await),
            None => (0, Vec::new()),
        };
        Ok(cri::PodSandboxStatusResponse {
            status: Some(status),
            info,
            timestamp,
            containers_statuses,
        })
    }
}
