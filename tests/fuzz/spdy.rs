//! SPDY: frames, header blocks, and a whole connection.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use dockside::streaming::spdy::{
    connection::{Connection, Event, Role},
    frame::{Decoder, Frame, FrameError, PIECE, Status},
    headers::{Packer, Unpacker},
};

use crate::driver::fuzz;

/// The first byte of an input says in which pieces the rest arrives.
fn pieces(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (cut, rest) = input.split_first().unwrap_or((&0, &[]));
    rest.chunks(usize::from(*cut).pow(2) + 1)
}

/// All frames, data that belongs together in one.
fn decode<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FrameError>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for part in parts {
        decoder.buffer().extend_from_slice(part);
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            };
            if let (
                Some(Frame::Data {
                    id: last,
                    fin: ended @ false,
                    bytes: all,
                }),
                Frame::Data { id, fin, bytes },
            ) = (frames.last_mut(), &frame)
            {
                assert!(bytes.len() <= PIECE);
                if last == id {
                    *ended = *fin;
                    *all = [&all[..], bytes].concat().into();
                    continue;
                }
            }
            frames.push(frame);
        }
    }
    (frames, None)
}

const fn kind(frame: &Frame) -> u16 {
    match frame {
        Frame::SynStream {
            fin, unidirectional, ..
        } => 100 + *fin as u16 + 2 * *unidirectional as u16,
        Frame::SynReply { fin, .. } => 110 + *fin as u16,
        Frame::Headers { fin, .. } => 120 + *fin as u16,
        Frame::RstStream { .. } => 130,
        Frame::Ping(_) => 140,
        Frame::GoAway { .. } => 150,
        Frame::Ignored(_) => 160,
        Frame::Data { fin, .. } => 170 + *fin as u16,
    }
}

#[test]
fn spdy_frames() {
    fuzz("spdy_frames", |input| {
        let (frames, error) = decode(pieces(input));
        let whole = decode([input.get(1..).unwrap_or_default()].into_iter());
        assert_eq!((&frames, &error), (&whole.0, &whole.1), "however it is cut");
        let mut wire = BytesMut::new();
        for frame in &frames {
            frame.encode(&mut wire);
        }
        assert_eq!(decode([&wire[..]].into_iter()), (frames.clone(), None));
        (
            frames.iter().take(12).map(kind).collect::<Vec<_>>(),
            error.map(|error| error.to_string().len()),
        )
    });
}

/// Blocks of one connection: two bytes of length, then the block.
#[test]
fn spdy_headers() {
    fuzz("spdy_headers", |mut input| {
        let mut unpacker = Unpacker::default();
        let (mut packer, mut other) = (Packer::default(), Unpacker::default());
        let mut shown = Vec::new();
        while let Some((length, rest)) = input.split_first_chunk::<2>() {
            let (block, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
            input = rest;
            match unpacker.unpack(block) {
                Ok(headers) => {
                    let again = other.unpack(&packer.pack(&headers)).unwrap();
                    assert_eq!(again, headers);
                    shown.push(headers.get("streamtype").map_or(0, str::len));
                }
                Err(error) => {
                    shown.push(1000 + error.to_string().len());
                    break;
                }
            }
        }
        shown
    });
}

/// What a peer may expect of the events on one stream.
#[derive(Default)]
struct Life {
    finished: bool,
    reset: bool,
}

/// A server that accepts most streams, sends back what comes, and ends with its peer.
#[test]
fn spdy_connection() {
    fuzz("spdy_connection", |input| {
        let (mut server, mut peer) = (Connection::new(Role::Server), Connection::new(Role::Client));
        let mut streams: HashMap<u32, Life> = HashMap::new();
        let (mut shown, mut received, mut sent, mut echoed) = (Vec::new(), 0, 0, 0);
        'all: for piece in pieces(input) {
            received += piece.len();
            server.input().extend_from_slice(piece);
            loop {
                let event = match server.next_event() {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(_) => {
                        shown.push(255);
                        break 'all;
                    }
                };
                shown.push(match event {
                    Event::Opened { id, headers } => {
                        let before = streams.insert(id, Life::default());
                        assert!(before.is_none(), "stream {id} is opened twice");
                        if headers.get("streamtype") == Some("stdin") {
                            server.reset(id, Status::Refused);
                            streams.entry(id).or_default().reset = true;
                            1
                        } else {
                            server.accept(id);
                            2
                        }
                    }
                    Event::Data { id, bytes } => {
                        let life = streams.get(&id).expect("data of a stream that was opened");
                        assert!(!life.finished && !life.reset, "data after the end of stream {id}");
                        assert!(!bytes.is_empty() && bytes.len() <= PIECE);
                        // Each piece goes back in a frame of its own.
                        echoed += bytes.len() + 8;
                        3 + u8::from(server.send(id, &bytes))
                    }
                    Event::Finished(id) => {
                        let life = streams.get_mut(&id).expect("the end of a stream that was opened");
                        assert!(!life.finished && !life.reset, "stream {id} ends twice");
                        life.finished = true;
                        server.finish(id);
                        5
                    }
                    Event::Reset(id) => {
                        let life = streams
                            .get_mut(&id)
                            .expect("the reset of a stream that was opened");
                        assert!(!life.reset, "stream {id} is reset twice");
                        life.reset = true;
                        6
                    }
                    Event::Accepted(id) => panic!("stream {id} was never opened here"),
                    Event::Pong(_) => 7,
                    Event::GoAway => 8,
                });
            }
            sent += answer(&mut server, &mut peer);
        }
        server.reset_all(Status::Cancel);
        server.go_away(0);
        sent += answer(&mut server, &mut peer);
        // Eight bytes are the shortest frame; no answer is longer than a reply and a reset.
        assert!(
            sent <= echoed + 64 * (received / 8 + 2),
            "{sent} bytes in answer to {received}"
        );
        shown.truncate(16);
        shown
    });
}

/// What the server has to say goes to its peer, who must be able to read it.
fn answer(server: &mut Connection, peer: &mut Connection) -> usize {
    let bytes: Bytes = server.output().split().freeze();
    peer.input().extend_from_slice(&bytes);
    while peer
        .next_event()
        .expect("the server keeps to the protocol")
        .is_some()
    {}
    peer.output().clear();
    bytes.len()
}
