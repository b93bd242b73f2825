//! Answers whose parts were encoded before, once for as long as they do not change.
//!
//! On the wire a repeated message and a repeated string of bytes are the same, so that servers answer with the
//! messages here, clients read those of the same names.

use prost::{Message, bytes::Bytes};

/// One message as it goes into an answer.
pub fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// How many bytes a message takes in an answer, about.
pub fn encoded_len<M: Message>(message: &M) -> usize {
    message.encoded_len()
}

macro_rules! answers {
    ($($name:ident { $field:ident })*) => {$(
        #[doc = concat!("[`", stringify!($name), "`](crate::", stringify!($name), ") of encoded parts.")]
        #[derive(Clone, PartialEq, Message)]
        pub struct $name {
            /// The parts.
            #[prost(bytes = "bytes", repeated, tag = "1")]
            pub $field: Vec<Bytes>,
        }
    )*};
}

answers! {
    ListContainersResponse { containers }
    ListPodSandboxResponse { items }
    StreamContainersResponse { containers }
    StreamPodSandboxesResponse { pod_sandboxes }
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
        let parts = vec![encoded(&container("a")), encoded(&container("b"))];
        let whole = vec![container("a"), container("b")];
        let sent = ListContainersResponse {
            containers: parts.clone(),
        }
        .encode_to_vec();
        let read = crate::ListContainersResponse::decode(sent.as_slice()).unwrap();
        assert_eq!(read.containers, whole);
        let sent = StreamContainersResponse { containers: parts }.encode_to_vec();
        let read = crate::StreamContainersResponse::decode(sent.as_slice()).unwrap();
        assert_eq!(read.containers, whole);
        let items = vec![encoded(&sandbox)];
        let sent = ListPodSandboxResponse { items: items.clone() }.encode_to_vec();
        let read = crate::ListPodSandboxResponse::decode(sent.as_slice()).unwrap();
        assert_eq!(read.items, [sandbox.clone()]);
        let sent = StreamPodSandboxesResponse { pod_sandboxes: items }.encode_to_vec();
        let read = crate::StreamPodSandboxesResponse::decode(sent.as_slice()).unwrap();
        assert_eq!(read.pod_sandboxes, [sandbox]);
    }
}
