use super::Containers;
use crate::error::{Error, Result};

impl Containers {
    /// Goes on in a new file at the log's path. The kubelet has renamed the old one, which gets no more
    /// lines. Where this fails, no new file is left: the kubelet then renames the old one back.
    pub async fn reopen_log(&self, id: &str) -> Result<()> {
        let (container, inspect) = self.store.inspect_container(id).await?;
        let id = &container.id;
        if !inspect.state.running {
            return Err(Error::Precondition(format!("container {id} does not run")));
        }
        if container.record.log_path.is_empty() {
            return Err(Error::Precondition(format!(
                "container {id} was created without a log path"
            )));
        }
        let place = &container.record.log_path;
        self.logs
            .reopen(id)
            .await
            .map_err(Error::host(format!("reopen the log {place}")))
    }
}
