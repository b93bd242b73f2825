use std::sync::Arc;

use futures_util::{Stream, stream};
use translate::{labels, status};

use super::Sandboxes;
use crate::{error::Result, store::Change};

impl Sandboxes {
    /// What happens to sandboxes and containers from now on, each event with its whole pod.
    ///
    /// The stream ends with an error only: when its reader is too slow.
    pub fn events(
        self: &Arc<Self>,
    ) -> Result<impl Stream<Item = Result<cri::ContainerEventResponse>> + use<>> {
        let changes = self.store.changes()?;
        let start = Some((Arc::clone(self), changes));
        Ok(stream::unfold(start, |state| async {
            let (sandboxes, mut changes) = state?;
            loop {
                match changes.next().await {
                    Ok(change) => {
                        if let Some(event) = sandboxes.event(&change).await {
                            return Some((Ok(event), Some((sandboxes, changes))));
                        }
                    }
                    Err(error) => return Some((Err(error), None)),
                }
            }
        }))
    }

    /// A change as CRI tells it; `None` where nobody could say of which pod.
    async fn event(&self, change: &Change) -> Option<cri::ContainerEventResponse> {
        let pod = match &change.sandbox {
            Some(view) => {
                let addresses = if view.sandbox.host_network {
                    Ok(Vec::new())
                } else {
                    self.network.addresses(&view.inspect).await
                };
                let mut pod = status::sandbox(
                    &view.inspect,
                    &view.sandbox.record,
                    &addresses.unwrap_or_default(),
                );
                if change.step == cri::ContainerEventType::ContainerDeletedEvent
                    && change.id == change.sandbox_id
                {
                    pod.state = cri::PodSandboxState::SandboxNotready.into();
                }
                pod
            }
            None => lost_sandbox(change)?,
        };
        Some(cri::ContainerEventResponse {
            container_id: change.id.clone(),
            container_event_type: change.step.into(),
            created_at: change.at,
            pod_sandbox_status: Some(pod),
            containers_statuses: self.statuses(&change.containers).await,
        })
    }
}

/// The status of a sandbox that was removed before its containers: the kubelet's labels on these say which it was.
fn lost_sandbox(change: &Change) -> Option<cri::PodSandboxStatus> {
    let labels = &change.containers.first()?.container.record.config.labels;
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    Some(cri::PodSandboxStatus {
        id: change.sandbox_id.clone(),
        metadata: Some(cri::PodSandboxMetadata {
            name: label(labels::POD_NAME),
            namespace: label(labels::POD_NAMESPACE),
            uid: label(labels::POD_UID),
            attempt: 0,
        }),
        state: cri::PodSandboxState::SandboxNotready.into(),
        ..Default::default()
    })
}
