//! The filter around a stream.

use std::{
    io,
    mem::take,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::Filter;

/// How much is read from the client at a time while the filter works.
const CHUNK: usize = 4096;

/// A client's stream whose reading side has passed the [`Filter`]; writes go straight through.
///
/// Once the filter has nothing left to do, reads go straight through as well and its buffers are freed.
#[derive(Debug)]
pub struct Repaired<T> {
    inner: T,
    filter: Filter,
    /// Where the client's bytes are read to.
    chunk: Vec<u8>,
    /// What the filter has let pass, and how much of it the reader has taken.
    passed: Vec<u8>,
    taken: usize,
}

impl<T> Repaired<T> {
    /// Wraps the server's side of a new connection.
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            filter: Filter::default(),
            chunk: Vec::new(),
            passed: Vec::new(),
            taken: 0,
        }
    }

    /// Memory that is kept for the filter, in bytes.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.chunk.capacity() + self.passed.capacity()
    }

    /// Hands the reader what has passed; false if there is nothing.
    fn hand_over(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let ready = &self.passed[self.taken..];
        if ready.is_empty() {
            return false;
        }
        let size = ready.len().min(into.remaining());
        into.put_slice(&ready[..size]);
        self.taken += size;
        if self.taken == self.passed.len() {
            self.passed.clear();
            self.taken = 0;
        }
        true
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Repaired<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.hand_over(into) {
                return Poll::Ready(Ok(()));
            }
            if this.filter.is_through() {
                drop((take(&mut this.chunk), take(&mut this.passed)));
                return Pin::new(&mut this.inner).poll_read(cx, into);
            }
            this.chunk.resize(CHUNK, 0);
            let mut chunk = ReadBuf::new(&mut this.chunk);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            match chunk.filled() {
                // The next turn reads the end once more, from the stream itself.
                [] => this.filter.finish(&mut this.passed),
                read => this.filter.push(read, &mut this.passed),
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Repaired<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<T: Connected> Connected for Repaired<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> T::ConnectInfo {
        self.inner.connect_info()
    }
}
