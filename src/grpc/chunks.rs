//! Lists as streams: the same parts in several messages, so that no list outgrows a message.

use futures_util::{Stream, stream};
use tonic::Status;

/// About how many bytes of parts one message takes: far below the least limit of any client.
const CHUNK: usize = 1 << 20;

/// The messages that hold all `parts`, in their order. `size` is about that of one part encoded. No parts
/// make one empty message, so that a client sees an answer.
pub(super) fn chunks<P, M>(
    parts: Vec<P>,
    size: impl Fn(&P) -> usize,
    message: impl Fn(Vec<P>) -> M,
) -> impl Stream<Item = Result<M, Status>> {
    let mut messages = Vec::new();
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for part in parts {
        let more = size(&part);
        if bytes + more > CHUNK && !chunk.is_empty() {
            messages.push(Ok(message(std::mem::take(&mut chunk))));
            bytes = 0;
        }
        bytes += more;
        chunk.push(part);
    }
    if !chunk.is_empty() || messages.is_empty() {
        messages.push(Ok(message(chunk)));
    }
    stream::iter(messages)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn messages_are_filled_up_to_their_size() {
        let sizes = |parts: Vec<usize>| async {
            let messages = chunks(parts, |part| *part, |chunk| chunk).collect::<Vec<_>>();
            messages.await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(sizes(Vec::new()).await, [Vec::<usize>::new()]);
        assert_eq!(sizes(vec![1, 2, CHUNK - 3]).await, [vec![1, 2, CHUNK - 3]]);
        assert_eq!(sizes(vec![1, CHUNK]).await, [vec![1], vec![CHUNK]]);
        // One that is too large by itself is still told.
        assert_eq!(sizes(vec![2 * CHUNK, 1, 2]).await, [vec![2 * CHUNK], vec![1, 2]]);
    }
}
