//! The RuntimeService: each call is handed on, changes in a task of their own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cri::{encoded, runtime_service_server::RuntimeService};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream, metadata::MetadataMap};
use translate::stats::metrics::descriptors;

use super::{chunks::chunks, deadline::caller_timeout, detach::Detached};
use crate::{
    container::Containers,
    error::{Error, Result},
    sandbox::Sandboxes,
    stats::Stats,
    status::NodeStatus,
    store::Store,
    trace,
};

type Reply<T> = std::result::Result<Response<T>, Status>;

/// How long a pod's network may take where the caller sets no limit: what the kubelet grants.
const NETWORK_PATIENCE: Duration = Duration::from_secs(240);

/// The RuntimeService.
#[derive(Clone)]
pub struct Runtime {
    /// Sandboxes.
    pub sandboxes: Arc<Sandboxes>,
    /// Containers.
    pub containers: Arc<Containers>,
    /// Lists.
    pub store: Arc<Store>,
    /// Statistics and metrics.
    pub stats: Arc<Stats>,
    /// The node.
    pub status: Arc<NodeStatus>,
    /// Runs changes to their end, whatever becomes of their callers.
    pub detached: Detached,
    /// Cancelled when the process is to end: calls under way are waited for, and streams of events have no end.
    pub ending: CancellationToken,
}

impl Runtime {
    /// Runs a change to its end.
    async fn change<T: Send + 'static>(
        &self,
        name: &'static str,
        change: impl Future<Output = Result<T>> + Send + 'static,
    ) -> std::result::Result<T, Status> {
        self.detached
            .run(name, async { change.await.map_err(Status::from) })
            .await
    }
}

/// When the caller stops waiting.
fn deadline(metadata: &MetadataMap) -> Instant {
    Instant::now() + caller_timeout(metadata.as_ref()).unwrap_or(NETWORK_PATIENCE)
}

#[tonic::async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: Request<cri::VersionRequest>) -> Reply<cri::VersionResponse> {
        Ok(Response::new(self.status.version().await?))
    }

    async fn status(&self, request: Request<cri::StatusRequest>) -> Reply<cri::StatusResponse> {
        Ok(Response::new(
            self.status.status(request.into_inner().verbose).await,
        ))
    }

    async fn runtime_config(
        &self,
        _: Request<cri::RuntimeConfigRequest>,
    ) -> Reply<cri::RuntimeConfigResponse> {
        Ok(Response::new(self.status.runtime_config().await?))
    }

    async fn update_runtime_config(
        &self,
        request: Request<cri::UpdateRuntimeConfigRequest>,
    ) -> Reply<cri::UpdateRuntimeConfigResponse> {
        self.status.update(&request.into_inner())?;
        Ok(Response::new(cri::UpdateRuntimeConfigResponse {}))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<cri::RunPodSandboxRequest>,
    ) -> Reply<cri::RunPodSandboxResponse> {
        let deadline = deadline(request.metadata());
        let sandboxes = Arc::clone(&self.sandboxes);
        let request = request.into_inner();
        let id = self
            .change(
                "RunPodSandbox",
                async move { sandboxes.run(request, deadline).await },
            )
            .await?;
        Ok(Response::new(cri::RunPodSandboxResponse { pod_sandbox_id: id }))
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<cri::StopPodSandboxRequest>,
    ) -> Reply<cri::StopPodSandboxResponse> {
        let deadline = deadline(request.metadata());
        let sandboxes = Arc::clone(&self.sandboxes);
        let id = given(request.into_inner().pod_sandbox_id, "pod_sandbox_id")?;
        self.change(
            "StopPodSandbox",
            async move { sandboxes.stop(&id, deadline).await },
        )
        .await?;
        Ok(Response::new(cri::StopPodSandboxResponse {}))
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<cri::RemovePodSandboxRequest>,
    ) -> Reply<cri::RemovePodSandboxResponse> {
        let deadline = deadline(request.metadata());
        let sandboxes = Arc::clone(&self.sandboxes);
        let id = given(request.into_inner().pod_sandbox_id, "pod_sandbox_id")?;
        self.change("RemovePodSandbox", async move {
            sandboxes.remove(&id, deadline).await
        })
        .await?;
        Ok(Response::new(cri::RemovePodSandboxResponse {}))
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<cri::PodSandboxStatusRequest>,
    ) -> Reply<cri::PodSandboxStatusResponse> {
        let request = request.into_inner();
        let id = given(request.pod_sandbox_id, "pod_sandbox_id")?;
        Ok(Response::new(self.sandboxes.status(&id, request.verbose).await?))
    }

    async fn list_pod_sandbox(&self, request: Request<cri::ListPodSandboxRequest>) -> Reply<encoded::List> {
        let filter = request.into_inner().filter.unwrap_or_default();
        Ok(Response::new(self.store.list_sandboxes(&filter).await?))
    }

    async fn stream_pod_sandboxes(
        &self,
        request: Request<cri::StreamPodSandboxesRequest>,
    ) -> Reply<BoxStream<encoded::List>> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let items = self.store.sandbox_items(&filter).await?;
        let message = |part: Vec<Bytes>| encoded::List::of(&part);
        Ok(Response::new(Box::pin(chunks(items, Bytes::len, message))))
    }

    async fn get_container_events(
        &self,
        _: Request<cri::GetEventsRequest>,
    ) -> Reply<BoxStream<cri::ContainerEventResponse>> {
        let events = self.sandboxes.events()?.map(|event| event.map_err(Status::from));
        // Said, so that no subscriber takes it for the end of all events.
        let end = async { Err(Status::unavailable("dockside is being stopped")) };
        let events = events
            .take_until(self.ending.clone().cancelled_owned())
            .chain(stream::once(end));
        Ok(Response::new(Box::pin(events)))
    }

    async fn create_container(
        &self,
        request: Request<cri::CreateContainerRequest>,
    ) -> Reply<cri::CreateContainerResponse> {
        let containers = Arc::clone(&self.containers);
        let mut request = request.into_inner();
        request.pod_sandbox_id = given(request.pod_sandbox_id, "pod_sandbox_id")?;
        let id = self
            .change("CreateContainer", async move { containers.create(request).await })
            .await?;
        Ok(Response::new(cri::CreateContainerResponse { container_id: id }))
    }

    async fn start_container(
        &self,
        request: Request<cri::StartContainerRequest>,
    ) -> Reply<cri::StartContainerResponse> {
        let containers = Arc::clone(&self.containers);
        let id = given(request.into_inner().container_id, "container_id")?;
        self.change("StartContainer", async move { containers.start(&id).await })
            .await?;
        Ok(Response::new(cri::StartContainerResponse {}))
    }

    async fn stop_container(
        &self,
        request: Request<cri::StopContainerRequest>,
    ) -> Reply<cri::StopContainerResponse> {
        let containers = Arc::clone(&self.containers);
        let request = request.into_inner();
        let id = given(request.container_id, "container_id")?;
        self.change("StopContainer", async move {
            containers.stop(&id, request.timeout).await
        })
        .await?;
        Ok(Response::new(cri::StopContainerResponse {}))
    }

    async fn remove_container(
        &self,
        request: Request<cri::RemoveContainerRequest>,
    ) -> Reply<cri::RemoveContainerResponse> {
        let containers = Arc::clone(&self.containers);
        let id = given(request.into_inner().container_id, "container_id")?;
        self.change("RemoveContainer", async move { containers.remove(&id).await })
            .await?;
        Ok(Response::new(cri::RemoveContainerResponse {}))
    }

    async fn list_containers(&self, request: Request<cri::ListContainersRequest>) -> Reply<encoded::List> {
        let filter = request.into_inner().filter.unwrap_or_default();
        Ok(Response::new(self.store.list_containers(&filter).await?))
    }

    async fn stream_containers(
        &self,
        request: Request<cri::StreamContainersRequest>,
    ) -> Reply<BoxStream<encoded::List>> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let items = self.store.container_items(&filter).await?;
        let message = |part: Vec<Bytes>| encoded::List::of(&part);
        Ok(Response::new(Box::pin(chunks(items, Bytes::len, message))))
    }

    async fn container_status(
        &self,
        request: Request<cri::ContainerStatusRequest>,
    ) -> Reply<cri::ContainerStatusResponse> {
        let request = request.into_inner();
        let id = given(request.container_id, "container_id")?;
        Ok(Response::new(self.containers.status(&id, request.verbose).await?))
    }

    async fn update_container_resources(
        &self,
        request: Request<cri::UpdateContainerResourcesRequest>,
    ) -> Reply<cri::UpdateContainerResourcesResponse> {
        let containers = Arc::clone(&self.containers);
        let mut request = request.into_inner();
        request.container_id = given(request.container_id, "container_id")?;
        self.change("UpdateContainerResources", async move {
            containers.update(request).await
        })
        .await?;
        Ok(Response::new(cri::UpdateContainerResourcesResponse {}))
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<cri::UpdatePodSandboxResourcesRequest>,
    ) -> Reply<cri::UpdatePodSandboxResourcesResponse> {
        let id = given(request.into_inner().pod_sandbox_id, "pod_sandbox_id")?;
        self.sandboxes.update_resources(&id).await?;
        Ok(Response::new(cri::UpdatePodSandboxResourcesResponse {}))
    }

    async fn reopen_container_log(
        &self,
        request: Request<cri::ReopenContainerLogRequest>,
    ) -> Reply<cri::ReopenContainerLogResponse> {
        let containers = Arc::clone(&self.containers);
        let id = given(request.into_inner().container_id, "container_id")?;
        self.change(
            "ReopenContainerLog",
            async move { containers.reopen_log(&id).await },
        )
        .await?;
        Ok(Response::new(cri::ReopenContainerLogResponse {}))
    }

    async fn checkpoint_container(
        &self,
        _: Request<cri::CheckpointContainerRequest>,
    ) -> Reply<cri::CheckpointContainerResponse> {
        Err(unsupported(
            "checkpoints: the docker engine makes them in its experimental mode only, and does not tell the OCI \
             specification that CRI's archive has beside them",
        ))
    }

    async fn checkpoint_pod(
        &self,
        _: Request<cri::CheckpointPodRequest>,
    ) -> Reply<cri::CheckpointPodResponse> {
        Err(unsupported(
            "checkpoints of pods: the docker engine knows no pods",
        ))
    }

    async fn restore_pod(&self, _: Request<cri::RestorePodRequest>) -> Reply<cri::RestorePodResponse> {
        Err(unsupported(
            "checkpoints of pods: the docker engine knows no pods",
        ))
    }

    /// Not detached: a command whose caller is gone is killed.
    async fn exec_sync(&self, request: Request<cri::ExecSyncRequest>) -> Reply<cri::ExecSyncResponse> {
        let mut request = request.into_inner();
        request.container_id = given(request.container_id, "container_id")?;
        Ok(Response::new(
            Arc::clone(&self.containers).exec_sync(request).await?,
        ))
    }

    /// Answers with a URL; what is done there outlives this call.
    async fn exec(&self, request: Request<cri::ExecRequest>) -> Reply<cri::ExecResponse> {
        let mut request = request.into_inner();
        request.container_id = given(request.container_id, "container_id")?;
        Ok(Response::new(Arc::clone(&self.containers).exec(request).await?))
    }

    async fn attach(&self, request: Request<cri::AttachRequest>) -> Reply<cri::AttachResponse> {
        let mut request = request.into_inner();
        request.container_id = given(request.container_id, "container_id")?;
        Ok(Response::new(Arc::clone(&self.containers).attach(request).await?))
    }

    async fn port_forward(
        &self,
        request: Request<cri::PortForwardRequest>,
    ) -> Reply<cri::PortForwardResponse> {
        let mut request = request.into_inner();
        request.pod_sandbox_id = given(request.pod_sandbox_id, "pod_sandbox_id")?;
        Ok(Response::new(
            Arc::clone(&self.sandboxes).port_forward(request).await?,
        ))
    }

    async fn container_stats(
        &self,
        request: Request<cri::ContainerStatsRequest>,
    ) -> Reply<cri::ContainerStatsResponse> {
        let id = given(request.into_inner().container_id, "container_id")?;
        let stats = Some(self.stats.of_container(&id).await?);
        Ok(Response::new(cri::ContainerStatsResponse { stats }))
    }

    async fn list_container_stats(
        &self,
        request: Request<cri::ListContainerStatsRequest>,
    ) -> Reply<cri::ListContainerStatsResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let stats = self.stats.list_containers(filter).await?;
        Ok(Response::new(cri::ListContainerStatsResponse { stats }))
    }

    async fn stream_container_stats(
        &self,
        request: Request<cri::StreamContainerStatsRequest>,
    ) -> Reply<BoxStream<cri::StreamContainerStatsResponse>> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let stats = self.stats.list_containers(filter).await?;
        let message = |container_stats| cri::StreamContainerStatsResponse { container_stats };
        Ok(Response::new(Box::pin(chunks(
            stats,
            encoded::encoded_len,
            message,
        ))))
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<cri::PodSandboxStatsRequest>,
    ) -> Reply<cri::PodSandboxStatsResponse> {
        let id = given(request.into_inner().pod_sandbox_id, "pod_sandbox_id")?;
        let stats = Some(self.stats.of_pod(&id).await?);
        Ok(Response::new(cri::PodSandboxStatsResponse { stats }))
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<cri::ListPodSandboxStatsRequest>,
    ) -> Reply<cri::ListPodSandboxStatsResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let stats = self.stats.list_pods(filter).await?;
        Ok(Response::new(cri::ListPodSandboxStatsResponse { stats }))
    }

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<cri::StreamPodSandboxStatsRequest>,
    ) -> Reply<BoxStream<cri::StreamPodSandboxStatsResponse>> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let stats = self.stats.list_pods(filter).await?;
        let message = |pod_sandbox_stats| cri::StreamPodSandboxStatsResponse { pod_sandbox_stats };
        Ok(Response::new(Box::pin(chunks(
            stats,
            encoded::encoded_len,
            message,
        ))))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<cri::ListMetricDescriptorsRequest>,
    ) -> Reply<cri::ListMetricDescriptorsResponse> {
        Ok(Response::new(cri::ListMetricDescriptorsResponse {
            descriptors: descriptors(),
        }))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<cri::ListPodSandboxMetricsRequest>,
    ) -> Reply<cri::ListPodSandboxMetricsResponse> {
        let pod_metrics = self.stats.list_metrics().await?;
        Ok(Response::new(cri::ListPodSandboxMetricsResponse { pod_metrics }))
    }

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<cri::StreamPodSandboxMetricsRequest>,
    ) -> Reply<BoxStream<cri::StreamPodSandboxMetricsResponse>> {
        let metrics = self.stats.list_metrics().await?;
        let message = |pod_sandbox_metrics| cri::StreamPodSandboxMetricsResponse { pod_sandbox_metrics };
        Ok(Response::new(Box::pin(chunks(
            metrics,
            encoded::encoded_len,
            message,
        ))))
    }
}

fn unsupported(why: &str) -> Status {
    Error::Unsupported(why.to_owned()).into()
}

/// An id that must be there.
fn given(id: String, field: &'static str) -> Result<String> {
    if id.is_empty() {
        Err(Error::Invalid(translate::Invalid::new(field, "is missing")))
    } else {
        trace::about(field, &id);
        Ok(id)
    }
}
