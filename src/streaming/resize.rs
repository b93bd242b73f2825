//! The resize stream: JSON objects one after the other, cut anywhere.

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::session::Size;

/// One object takes about 30 bytes. A client that leaves an object open for longer than this sends something else.
const LONGEST: usize = 4096;

/// Reads terminal sizes out of a byte stream.
#[derive(Debug, Default)]
pub(crate) struct Resizes {
    pending: Vec<u8>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "Width", alias = "width")]
    width: u16,
    #[serde(rename = "Height", alias = "height")]
    height: u16,
}

impl Resizes {
    /// Takes what came, and returns the newest size that is complete: older ones no longer matter.
    ///
    /// What is not JSON is dropped, with everything that came along with it; the next object is read again.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Option<Size> {
        self.pending.extend_from_slice(bytes);
        let mut newest = None;
        let mut objects = serde_json::Deserializer::from_slice(&self.pending).into_iter::<Wire>();
        let used = loop {
            match objects.next() {
                Some(Ok(Wire { width, height })) => newest = Some(Size { width, height }),
                None => break self.pending.len(),
                Some(Err(err)) if err.is_eof() && self.pending.len() <= LONGEST => {
                    break objects.byte_offset();
                }
                Some(Err(err)) => {
                    tracing::debug!(%err, "unreadable terminal size of a client");
                    break self.pending.len();
                }
            }
        };
        self.pending.drain(..used);
        newest
    }
}

/// The sizes in a resize stream, until it ends or nobody wants them.
///
/// The stream is read at once even if the sizes are not, so that it never holds up the others on its connection;
/// a size that was not taken in time gives way to a newer one.
pub(crate) fn sizes(mut stream: mpsc::Receiver<Bytes>) -> mpsc::Receiver<Size> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut resizes, mut newest) = (Resizes::default(), None);
        loop {
            tokio::select! {
                bytes = stream.recv() => match bytes {
                    Some(bytes) => newest = resizes.receive(&bytes).or(newest),
                    None => break,
                },
                permit = sender.reserve(), if newest.is_some() => match (permit, newest.take()) {
                    (Ok(permit), Some(size)) => permit.send(size),
                    _ => return,
                },
                () = sender.closed() => return,
            }
        }
        if let Some(size) = newest {
            // Fails only if nobody wants to know.
            let _ = sender.send(size).await;
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const fn size(width: u16, height: u16) -> Option<Size> {
        Some(Size { width, height })
    }

    #[test]
    fn sizes_come_one_by_one_in_heaps_and_in_pieces() {
        let mut resizes = Resizes::default();
        assert_eq!(resizes.receive(br#"{"Width":80,"Height":24}"#), size(80, 24));
        assert_eq!(resizes.receive(b"\n"), None);
        assert_eq!(
            resizes.receive(b"{\"Width\":1,\"Height\":2}{\"Width\":3,\"Height\":4}\n{\"Wid"),
            size(3, 4)
        );
        assert_eq!(resizes.receive(br#"th":5,"#), None);
        assert_eq!(resizes.receive(br#""Height":6}"#), size(5, 6));
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_size() {
        let (sender, stream) = mpsc::channel(1);
        let mut sizes = sizes(stream);
        for width in 1..=100 {
            let json = format!("{{\"Width\":{width},\"Height\":1}}");
            sender.send(json.into()).await.unwrap();
        }
        drop(sender);
        let mut last = None;
        while let Some(size) = sizes.recv().await {
            last = Some(size);
        }
        assert_eq!(last, size(100, 1));
    }

    #[test]
    fn nonsense_is_dropped_and_the_next_size_is_read() {
        let mut resizes = Resizes::default();
        assert_eq!(resizes.receive(b"hello"), None);
        assert_eq!(resizes.receive(br#"{"Width":70000,"Height":1}"#), None);
        assert_eq!(resizes.receive(&[b'['; 5000]), None);
        assert_eq!(resizes.receive(br#"{"Width":7,"Height":8}"#), size(7, 8));
    }

    #[test]
    fn an_object_that_never_ends_is_not_kept() {
        let mut resizes = Resizes::default();
        for _ in 0..100 {
            assert_eq!(resizes.receive(&[b' '; 1000]), None);
            assert_eq!(resizes.receive(br#"{"Width":"#), None);
        }
        assert!(resizes.pending.len() <= LONGEST + 1009);
    }
}
