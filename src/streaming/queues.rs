//! The bounded queues between a connection and its sessions, as one task polls them.
//!
//! Numbered by stream (SPDY) or channel (WebSocket).

use std::collections::HashMap;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;

/// Pieces in one queue. Pieces are rarely longer than 32 KiB, so a queue holds at most some 2 MiB.
pub(crate) const DEPTH: usize = 64;

/// What goes from sessions to the client.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    sources: Vec<(u32, Source)>,
    /// Where the next round starts, so that a busy stream does not silence the others.
    turn: usize,
}

#[derive(Debug)]
enum Source {
    Pieces(mpsc::Receiver<Bytes>),
    Text(oneshot::Receiver<String>),
    /// The text was passed on; the end comes next.
    Told,
}

/// One thing to pass on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// Nothing more will come.
    End,
}

impl Outputs {
    /// A new queue whose pieces go to stream `id`.
    pub(crate) fn open(&mut self, id: u32) -> mpsc::Sender<Bytes> {
        let (sender, receiver) = mpsc::channel(DEPTH);
        self.sources.push((id, Source::Pieces(receiver)));
        sender
    }

    /// A text, or nothing, for stream `id`, which then ends.
    pub(crate) fn open_text(&mut self, id: u32) -> oneshot::Sender<String> {
        let (sender, receiver) = oneshot::channel();
        self.sources.push((id, Source::Text(receiver)));
        sender
    }

    /// Forgets stream `id`: the session's sends fail from now on.
    pub(crate) fn remove(&mut self, id: u32) {
        self.sources.retain(|(other, _)| *other != id);
    }

    /// Takes nothing new; what is queued still comes, then the ends.
    pub(crate) fn close(&mut self) {
        for (_, source) in &mut self.sources {
            match source {
                Source::Pieces(receiver) => receiver.close(),
                Source::Text(receiver) => receiver.close(),
                Source::Told => {}
            }
        }
    }

    /// Whether every stream has ended.
    pub(crate) const fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The next piece of any stream. Pending for ever without streams.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(u32, Piece)> {
        let count = self.sources.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some((id, source)) = self.sources.get_mut(index) else {
                break;
            };
            let id = *id;
            let piece = match source {
                Source::Pieces(receiver) => receiver.poll_recv(cx),
                Source::Text(receiver) => std::pin::Pin::new(receiver)
                    .poll(cx)
                    .map(|text| text.ok().map(Bytes::from)),
                Source::Told => Poll::Ready(None),
            };
            match piece {
                Poll::Pending => {}
                Poll::Ready(Some(bytes)) => {
                    if matches!(source, Source::Text(_)) {
                        *source = Source::Told;
                    }
                    self.turn = index + 1;
                    return Poll::Ready((id, Piece::Data(bytes)));
                }
                Poll::Ready(None) => {
                    self.sources.swap_remove(index);
                    return Poll::Ready((id, Piece::End));
                }
            }
        }
        Poll::Pending
    }
}

/// What goes from the client to sessions.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    senders: HashMap<u32, PollSender<Bytes>>,
    /// What waits for room in its queue. Nothing more may be accepted until then.
    blocked: Option<(u32, Bytes)>,
}

impl Inputs {
    /// A new queue of what comes on stream `id`.
    pub(crate) fn open(&mut self, id: u32) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(DEPTH);
        self.senders.insert(id, PollSender::new(sender));
        receiver
    }

    /// The stream has ended.
    pub(crate) fn close(&mut self, id: u32) {
        self.senders.remove(&id);
    }

    /// Whether what comes on stream `id` is wanted.
    pub(crate) fn wants(&self, id: u32) -> bool {
        self.senders.contains_key(&id)
    }

    /// Takes what came. Only after [`Self::poll_ready`] was ready. What nobody reads is dropped.
    pub(crate) fn accept(&mut self, id: u32, bytes: Bytes) {
        debug_assert!(self.blocked.is_none(), "accepted while blocked");
        self.blocked = Some((id, bytes));
    }

    /// Delivers what waits; ready when more can be accepted.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((id, _)) = &self.blocked else {
            return Poll::Ready(());
        };
        if let Some(sender) = self.senders.get_mut(id) {
            let open = std::task::ready!(sender.poll_reserve(cx)).is_ok();
            if let Some((id, bytes)) = self.blocked.take()
                && (!open || sender.send_item(bytes).is_err())
            {
                self.senders.remove(&id);
            }
        }
        self.blocked = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::poll_fn;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_busy_output_does_not_silence_the_others() {
        let mut outputs = Outputs::default();
        let (busy, quiet) = (outputs.open(1), outputs.open(2));
        for _ in 0..10 {
            busy.try_send(Bytes::from_static(b"b")).unwrap();
        }
        quiet.try_send(Bytes::from_static(b"q")).unwrap();
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(poll_fn(|cx| outputs.poll_next(cx)).await.0);
        }
        assert!(order.contains(&2), "{order:?}");
    }

    #[tokio::test]
    async fn what_was_queued_still_comes_after_close() {
        let mut outputs = Outputs::default();
        let sender = outputs.open(1);
        sender.try_send(Bytes::from_static(b"last words")).unwrap();
        outputs.close();
        assert!(sender.try_send(Bytes::new()).is_err());
        let mut next = async || poll_fn(|cx| outputs.poll_next(cx)).await;
        assert_eq!(next().await, (1, Piece::Data(Bytes::from_static(b"last words"))));
        assert_eq!(next().await, (1, Piece::End));
        assert!(outputs.is_empty());
    }

    #[tokio::test]
    async fn a_text_is_told_once_and_its_absence_is_an_end() {
        let mut outputs = Outputs::default();
        outputs.open_text(1).send("refused".to_owned()).unwrap();
        drop(outputs.open_text(2));
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(poll_fn(|cx| outputs.poll_next(cx)).await);
        }
        assert!(seen.contains(&(1, Piece::Data(Bytes::from_static(b"refused")))));
        assert!(
            seen.contains(&(1, Piece::End)) && seen.contains(&(2, Piece::End)),
            "{seen:?}"
        );
    }

    #[tokio::test]
    async fn a_full_queue_blocks_until_it_is_read_or_dropped() {
        let mut inputs = Inputs::default();
        let mut reader = inputs.open(1);
        for count in 0..=DEPTH {
            inputs.accept(1, Bytes::from_static(b"x"));
            let ready = poll_fn(|cx| inputs.poll_ready(cx)).now_or_never();
            assert_eq!(ready.is_some(), count < DEPTH, "piece {count}");
        }
        reader.recv().await.unwrap();
        poll_fn(|cx| inputs.poll_ready(cx)).await;
        inputs.accept(1, Bytes::from_static(b"y"));
        assert!(poll_fn(|cx| inputs.poll_ready(cx)).now_or_never().is_none());
        drop(reader);
        poll_fn(|cx| inputs.poll_ready(cx)).await;
        inputs.accept(9, Bytes::from_static(b"for nobody"));
        poll_fn(|cx| inputs.poll_ready(cx)).await;
    }
}
