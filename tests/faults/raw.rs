//! Calls of any RPC with any bytes.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use support::Daemon;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Endpoint,
};

/// Messages as they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Every RPC of CRI, as `service/method`, from the table of the wire contract; streaming ones too.
pub(crate) fn rpcs() -> Vec<String> {
    let table = include_str!("../../proto/wire.tsv");
    let rpcs: Vec<String> = table
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|row| row[0] == "rpc")
        .map(|row| format!("/{}/{}", row[1], row[2]))
        .collect();
    assert_eq!(rpcs.len(), 43);
    rpcs
}

/// One call, and the first message of its answer.
pub(crate) async fn call(daemon: &Daemon, rpc: &str, message: &[u8]) -> Result<Option<Bytes>, Status> {
    let channel = Endpoint::from_shared(format!("unix://{}", daemon.socket().display()))
        .unwrap()
        .connect_lazy();
    let mut client = Grpc::new(channel).max_decoding_message_size(64 << 20);
    client.ready().await.unwrap();
    let request = Request::new(Bytes::copy_from_slice(message));
    let answer = client
        .server_streaming(request, rpc.parse().unwrap(), Raw)
        .await?;
    let mut stream = answer.into_inner();
    if rpc.ends_with("/GetContainerEvents") {
        // Open, and silent until something happens.
        let first = tokio::time::timeout(Duration::from_millis(200), stream.message()).await;
        return first.unwrap_or(Ok(None));
    }
    stream.message().await
}
