//! WebSocket: single messages, and a whole session.

use std::time::Duration;

use bytes::Bytes;
use dockside::streaming::{
    protocol::Limits,
    session::{Outcome, Streams},
    websocket::{
        self, Encoding,
        channels::{ChannelError, Incoming},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::Builder,
    time::timeout,
};

use crate::driver::fuzz;

/// The first byte chooses the encoding and the version, the rest is one message.
#[test]
fn websocket_channels() {
    fuzz("websocket_channels", |input| {
        let (flags, message) = input.split_first().unwrap_or((&0, &[]));
        let encoding = [Encoding::Binary, Encoding::Base64][usize::from(flags & 1)];
        let decode = |message: Vec<u8>| encoding.decode(message.into(), flags & 2 != 0);
        match decode(message.to_vec()) {
            Ok(Some(Incoming::Data { channel, bytes })) => {
                if usize::from(channel) < encoding.channels() {
                    let again = decode(encoding.encode(channel, &bytes));
                    assert_eq!(
                        again,
                        Ok(Some(Incoming::Data {
                            channel,
                            bytes: bytes.clone()
                        }))
                    );
                }
                (1, channel, bytes.len().min(16))
            }
            Ok(Some(Incoming::Close(channel))) => (2, channel, 0),
            Ok(None) => (3, 0, 0),
            Err(ChannelError::Digit(_)) => (4, 0, 0),
            Err(ChannelError::Base64 { channel, reason }) => (5, channel, reason.to_string().len()),
        }
    });
}

const PROTOCOLS: [&str; 4] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "base64.channel.k8s.io",
    "v4.base64.channel.k8s.io",
];

/// The first byte chooses the protocol; each further frame is its own first byte, a length, and a payload. A session
/// whose client closes must end whatever came before.
#[test]
fn websocket_session() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    fuzz("websocket_session", |input| {
        let (flags, frames) = input.split_first().unwrap_or((&0, &[]));
        runtime.block_on(session(*flags, frames))
    });
}

async fn session(flags: u8, mut frames: &[u8]) -> (usize, Vec<u8>, usize) {
    let (mut near, far) = duplex(64 * 1024);
    let mut wire = Vec::new();
    while let Some((&[first, length], rest)) = frames.split_first_chunk() {
        let (payload, rest) = rest.split_at(usize::from(length & 0x7f).min(rest.len()));
        frames = rest;
        // A client's frames are masked, here with zeros. A length of 126 or more says that another one follows.
        let length = if length & 0x80 == 0 {
            payload.len() as u8
        } else {
            length
        };
        wire.extend_from_slice(&[first, 0x80 | length, 0, 0, 0, 0]);
        wire.extend_from_slice(payload);
    }
    let protocol = PROTOCOLS[usize::from(flags) % PROTOCOLS.len()];
    let streams = Streams {
        stdin: true,
        stdout: true,
        stderr: false,
        tty: flags & 4 != 0,
    };
    let limits = Limits {
        creation: Duration::from_secs(1),
        idle: Duration::from_secs(60),
    };
    let protocol = websocket::negotiate_remote(&[protocol]).unwrap();
    let mut remote = websocket::remote(far, protocol, streams, limits).await.unwrap();
    near.write_all(&wire).await.unwrap();
    if flags & 8 != 0 {
        near.shutdown().await.unwrap();
    }
    let mut stdin = remote.stdin.take().unwrap();
    let mut typed = 0;
    // Time passes at once where nothing happens, so a session that waits comes to its idle time.
    let all = async {
        while let Some(bytes) = stdin.recv().await {
            assert!(!bytes.is_empty());
            typed += bytes.len();
            if let Some(stdout) = &remote.stdout {
                let _ = stdout.send(Bytes::from_static(b"seen")).await;
            }
        }
        let mut last = None;
        while let Some(size) = remote.resize.recv().await {
            last = Some(size);
        }
        let _ = remote.outcome.send(Outcome::Success);
        last.map_or(0, |size| usize::from(size.width))
    };
    let mut said = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = near.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..count]);
        }
    };
    let both = async { tokio::join!(all, reading) };
    let (width, ()) = timeout(Duration::from_secs(3600), both)
        .await
        .expect("the session ends");
    assert!(typed <= wire.len());
    // The frames' kinds, and the reason of the last.
    let shown = said.iter().rev().take(24).copied().collect();
    (
        typed.min(8) + 100 * usize::from(width > 0),
        shown,
        said.len().min(64),
    )
}
