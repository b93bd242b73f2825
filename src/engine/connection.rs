//! Connections to the Engine's socket, and the notice that the Engine went away.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use hyper::{Uri, rt};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::net::UnixStream;

/// Counts the Engine's lives as far as they can be seen from here.
///
/// The Engine never closes an idle connection, so the end of one means that it stopped. What is
/// known of it (API version, facts) belongs to one epoch and is asked again in the next.
#[derive(Default)]
pub(super) struct Epoch {
    count: AtomicU64,
    open: AtomicUsize,
}

impl Epoch {
    pub(super) fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// A connection where none was open may lead to another Engine than the last one did.
    fn opened(&self) {
        if self.open.fetch_add(1, Ordering::AcqRel) == 0 {
            self.end();
        }
    }
}

/// Opens pooled connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) socket: Arc<PathBuf>,
    pub(super) epoch: Arc<Epoch>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Watched>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { socket, epoch } = self.clone();
        Box::pin(async move {
            let stream = UnixStream::connect(&*socket).await?;
            epoch.opened();
            Ok(TokioIo::new(Watched { stream, epoch }))
        })
    }
}

/// A connection that tells its [`Epoch`] when the Engine closes it.
pub(super) struct Watched {
    stream: UnixStream,
    epoch: Arc<Epoch>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.epoch.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl tokio::io::AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining() > 0;
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &polled {
            Poll::Ready(Ok(())) if room && buffer.filled().len() == before => self.epoch.end(),
            Poll::Ready(Err(_)) => self.epoch.end(),
            _ => {}
        }
        polled
    }
}

impl tokio::io::AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

// `Watched` is wrapped in `TokioIo`, whose `Connection` is its inner one's.
const _: fn() = || {
    fn usable<T: rt::Read + rt::Write + Connection + Send + Unpin + 'static>() {}
    usable::<TokioIo<Watched>>();
};
