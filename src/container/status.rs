use std::collections::BTreeMap;

use serde_json::json;

use super::Containers;
use crate::error::Result;

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
        let status = view.status(&self.engine).await;
        Ok(cri::ContainerStatusResponse {
            status: Some(status),
            info,
        })
    }
}
