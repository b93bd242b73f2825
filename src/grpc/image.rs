//! The ImageService.

use std::sync::Arc;

use cri::image_service_server::ImageService;
use tonic::{Request, Response, Status, codegen::BoxStream};

use super::{chunks::chunks, detach::Detached};
use crate::image::Images;

type Reply<T> = Result<Response<T>, Status>;

/// The ImageService.
#[derive(Clone)]
pub struct Image {
    /// Images.
    pub images: Arc<Images>,
    /// Runs changes to their end, whatever becomes of their callers.
    pub detached: Detached,
}

#[tonic::async_trait]
impl ImageService for Image {
    async fn list_images(&self, request: Request<cri::ListImagesRequest>) -> Reply<cri::ListImagesResponse> {
        let images = self.images.list(request.into_inner().filter.as_ref()).await?;
        Ok(Response::new(cri::ListImagesResponse { images }))
    }

    async fn stream_images(
        &self,
        request: Request<cri::StreamImagesRequest>,
    ) -> Reply<BoxStream<cri::StreamImagesResponse>> {
        let images = self.images.list(request.into_inner().filter.as_ref()).await?;
        let message = |images| cri::StreamImagesResponse { images };
        Ok(Response::new(Box::pin(chunks(
            images,
            cri::encoded::encoded_len,
            message,
        ))))
    }

    async fn image_status(
        &self,
        request: Request<cri::ImageStatusRequest>,
    ) -> Reply<cri::ImageStatusResponse> {
        Ok(Response::new(self.images.status(&request.into_inner()).await?))
    }

    /// Not detached: a caller that goes away ends its pull.
    async fn pull_image(&self, request: Request<cri::PullImageRequest>) -> Reply<cri::PullImageResponse> {
        let image_ref = self.images.pull(&request.into_inner()).await?;
        Ok(Response::new(cri::PullImageResponse { image_ref }))
    }

    async fn remove_image(
        &self,
        request: Request<cri::RemoveImageRequest>,
    ) -> Reply<cri::RemoveImageResponse> {
        let images = Arc::clone(&self.images);
        let request = request.into_inner();
        let remove = async move { images.remove(&request.image).await.map_err(Status::from) };
        self.detached.run("RemoveImage", remove).await?;
        Ok(Response::new(cri::RemoveImageResponse {}))
    }

    async fn image_fs_info(&self, _: Request<cri::ImageFsInfoRequest>) -> Reply<cri::ImageFsInfoResponse> {
        Ok(Response::new(self.images.fs_info().await?))
    }
}
