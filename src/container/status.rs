use std::collections::BTreeMap;

use serde_json::json;
use translate::resources::live;

use super::Containers;
use crate::{error::Result, host::cgroup};

impl Containers {
    /// One container.
    pub async fn status(&self, id: &str, verbose: bool) -> Result<cri::ContainerStatusResponse> {
        let view = self.store.container_view(id).await?;
        let (container, inspect) = (&view.container, &view.inspect);
        let mut info = BTreeMap::new();
        if verbose {
            let text = json!({
                "sandboxID": container.sandbox_id,
                "pid": inspect.state.pid,
                "name": inspect.name.trim_start_matches('/'),
                "runtime": inspect.host_config.runtime,
                "cgroupParent": inspect.host_config.cgroup_parent,
                "engineLogPath": inspect.log_path,
                "config": container.record.config,
            });
            info.insert("info".to_owned(), text.to_string());
        }
        let mut status = view.status();
        let reported = status.resources.as_mut().and_then(|all| all.linux.as_mut());
        if let Some(reported) = reported.filter(|_| inspect.state.pid != 0) {
            let file = live::limit_file(&*self.engine.facts().await?);
            let live = view.live(|| cgroup::read(inspect.state.pid, file)).await;
            live::correct(reported, live);
        }
        Ok(cri::ContainerStatusResponse {
            status: Some(status),
            info,
        })
    }
}
