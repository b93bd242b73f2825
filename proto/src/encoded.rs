//! Answers whose parts were encoded before, once for as long as they do not change.
//!
//! Servers answer with [`List`], and clients read the message that the RPC names.

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut, Bytes},
    encoding::{DecodeContext, WireType, encode_key, encode_varint, skip_field},
    length_delimiter_len,
};

/// One message as it goes into an answer.
pub fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// How many bytes a message takes in an answer, about.
pub fn encoded_len<M: Message>(message: &M) -> usize {
    message.encoded_len()
}

/// An answer with one repeated message as its first field, such as
/// [`ListContainersResponse`](crate::ListContainersResponse), of parts that are encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List(Bytes);

impl List {
    /// A list of these messages.
    pub fn of(parts: &[Bytes]) -> Self {
        let length = |part: &Bytes| 1 + length_delimiter_len(part.len()) + part.len();
        let mut whole = Vec::with_capacity(parts.iter().map(length).sum());
        for part in parts {
            encode_key(1, WireType::LengthDelimited, &mut whole);
            encode_varint(part.len() as u64, &mut whole);
            whole.extend_from_slice(part);
        }
        Self(whole.into())
    }
}

impl Message for List {
    /// In one piece, so that the room for it is made once.
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.0);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    /// Servers do not read what they answer with.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buffer, context)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn clients_read_what_was_encoded_in_parts() {
        let container = |id: &str| crate::Container {
            id: id.into(),
            state: 1,
            ..Default::default()
        };
        let sandbox = crate::PodSandbox {
            id: "c".into(),
            ..Default::default()
        };
        let sent = List::of(&[encoded(&container("a")), encoded(&container("b"))]).encode_to_vec();
        let whole = vec![container("a"), container("b")];
        let read = crate::ListContainersResponse::decode(sent.as_slice()).unwrap();
        assert_eq!(read.containers, whole);
        let read = crate::StreamContainersResponse::decode(sent.as_slice()).unwrap();
        assert_eq!(read.containers, whole);
        let sent = List::of(&[encoded(&sandbox)]).encode_to_vec();
        let read = crate::ListPodSandboxResponse::decode(sent.as_slice()).unwrap();
        assert_eq!(read.items, std::slice::from_ref(&sandbox));
        let read = crate::StreamPodSandboxesResponse::decode(sent.as_slice()).unwrap();
        assert_eq!(read.pod_sandboxes, vec![sandbox]);
        assert_eq!(List::of(&[]).encode_to_vec(), [0u8; 0]);
    }
}
