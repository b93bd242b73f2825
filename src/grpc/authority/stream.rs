//! The filter around a stream.

use std::{
    future::poll_fn,
    io,
    mem::take,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

    /// Waits until the client has sent the connection preface, or something else, or has closed. What it
    /// sent is still to be read.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub async fn preface(&mut self) -> io::Result<()>
    where
        T: AsyncRead + Unpin,
    {
        while self.filter.awaits_preface() {
            poll_fn(|cx| self.poll_fill(cx)).await?;
        }
        Ok(())
    }

    /// Reads once from the client, through the filter.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: AsyncRead + Unpin,
    {
        self.chunk.resize(CHUNK, 0);
        let mut chunk = ReadBuf::new(&mut self.chunk);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut chunk))?;
        match chunk.filled() {
            // The reader meets the end once more, at the stream itself.
            [] => self.filter.finish(&mut self.passed),
            read => self.filter.push(read, &mut self.passed),
        }
        Poll::Ready(Ok(()))
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
            ready!(this.poll_fill(cx))?;
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
