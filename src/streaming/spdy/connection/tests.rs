#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Hands over all output of one side, and returns what the other side makes of it.
fn pass(from: &mut Connection, to: &mut Connection) -> Vec<Event> {
    to.input().extend_from_slice(&from.output().split());
    drain(to)
}

fn drain(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.next_event().unwrap()).collect()
}

fn frames(connection: &mut Connection) -> Vec<Frame> {
    let mut decoder = Decoder::default();
    decoder.buffer().extend_from_slice(&connection.output().split());
    std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
}

fn pair() -> (Connection, Connection) {
    (Connection::new(Role::Client), Connection::new(Role::Server))
}

fn opened(client: &mut Connection, server: &mut Connection) -> u32 {
    let id = client.open(&Headers::new(&[("streamtype", "stdin")])).unwrap();
    assert!(matches!(pass(client, server)[..], [Event::Opened { id: seen, .. }] if seen == id));
    server.accept(id);
    assert_eq!(pass(server, client), [Event::Accepted(id)]);
    id
}

#[test]
fn a_stream_is_opened_used_and_closed_half_by_half() {
    let (mut client, mut server) = pair();
    let id = opened(&mut client, &mut server);
    assert_eq!(id, 1);
    let hello = Bytes::from_static(b"hello");
    assert!(client.send(id, &hello));
    client.finish(id);
    assert!(!client.send(id, &hello), "our half is over");
    let events = pass(&mut client, &mut server);
    assert_eq!(
        events,
        [
            Event::Data {
                id,
                bytes: hello.clone()
            },
            Event::Finished(id)
        ]
    );
    assert!(server.send(id, &hello), "the other half is not");
    server.finish(id);
    assert_eq!(
        pass(&mut server, &mut client),
        [Event::Data { id, bytes: hello }, Event::Finished(id)]
    );
    assert!(client.streams.is_empty() && server.streams.is_empty());
    assert_eq!(opened(&mut client, &mut server), 3);
}

#[test]
fn no_data_goes_out_before_the_reply() {
    let (mut client, mut server) = pair();
    let id = client.open(&Headers::default()).unwrap();
    pass(&mut client, &mut server);
    server.send(id, &Bytes::from_static(b"x"));
    assert!(matches!(
        frames(&mut server)[..],
        [Frame::SynReply { .. }, Frame::Data { .. }]
    ));
}

#[test]
fn data_and_the_end_may_come_with_the_opening() {
    let (mut client, mut server) = pair();
    let id = client.open(&Headers::default()).unwrap();
    client.finish(id);
    let events = pass(&mut client, &mut server);
    assert!(
        matches!(events[..], [Event::Opened { .. }, Event::Finished(1)]),
        "{events:?}"
    );
}

#[test]
fn a_used_lower_or_wrong_number_is_a_protocol_error_of_that_stream_only() {
    let (mut client, mut server) = pair();
    opened(&mut client, &mut server);
    let id = opened(&mut client, &mut server);
    for (bad, told) in [
        (3, vec![Event::Reset(3)]),
        (1, vec![Event::Reset(1)]),
        (2, vec![]),
        (0, vec![]),
    ] {
        client.next = bad;
        client.open(&Headers::default()).unwrap();
        assert_eq!(pass(&mut client, &mut server), told, "{bad}");
        assert_eq!(frames(&mut server), [Frame::RstStream { id: bad, status: 1 }]);
    }
    client.next = id + 2;
    opened(&mut client, &mut server);
}

#[test]
fn pings_of_the_peer_come_back_and_answers_are_events() {
    let (mut client, mut server) = pair();
    client.ping(1);
    assert_eq!(pass(&mut client, &mut server), []);
    assert_eq!(pass(&mut server, &mut client), [Event::Pong(1)]);
    assert!(client.output().is_empty());
}

#[test]
fn a_reset_ends_both_halves_and_is_not_answered() {
    let (mut client, mut server) = pair();
    let id = opened(&mut client, &mut server);
    client.reset(id, Status::Cancel);
    assert_eq!(pass(&mut client, &mut server), [Event::Reset(id)]);
    assert!(!server.send(id, &Bytes::from_static(b"x")));
    server.finish(id);
    assert!(server.output().is_empty());
}

#[test]
fn late_data_of_a_stream_that_is_over_is_dropped_but_that_of_none_is_not_forgiven() {
    let (mut client, mut server) = pair();
    let id = opened(&mut client, &mut server);
    server.reset(id, Status::Cancel);
    server.output().clear();
    client.send(id, &Bytes::from_static(b"late"));
    Frame::Data {
        id: 99,
        fin: false,
        bytes: Bytes::from_static(b"x"),
    }
    .encode(client.output());
    assert_eq!(pass(&mut client, &mut server), []);
    assert_eq!(frames(&mut server), [Frame::RstStream { id: 99, status: 2 }]);
}

#[test]
fn data_after_the_end_resets_the_stream() {
    let (mut client, mut server) = pair();
    let id = opened(&mut client, &mut server);
    client.finish(id);
    Frame::Data {
        id,
        fin: false,
        bytes: Bytes::from_static(b"x"),
    }
    .encode(client.output());
    assert_eq!(
        pass(&mut client, &mut server),
        [Event::Finished(id), Event::Reset(id)]
    );
    assert_eq!(frames(&mut server), [Frame::RstStream { id, status: 9 }]);
}

#[test]
fn too_many_streams_and_those_after_goaway_are_refused() {
    let (mut client, mut server) = pair();
    for _ in 0..MAX_STREAMS {
        client.open(&Headers::default()).unwrap();
    }
    assert_eq!(pass(&mut client, &mut server).len(), MAX_STREAMS);
    let id = client.open(&Headers::default()).unwrap();
    assert_eq!(pass(&mut client, &mut server), []);
    assert_eq!(frames(&mut server), [Frame::RstStream { id, status: 3 }]);
    server.reset_all(Status::Cancel);
    server.output().clear();
    server.go_away(0);
    server.go_away(0);
    assert_eq!(frames(&mut server), [Frame::GoAway { last: id, status: 0 }]);
    let id = client.open(&Headers::default()).unwrap();
    assert_eq!(pass(&mut client, &mut server), []);
    assert_eq!(frames(&mut server), [Frame::RstStream { id, status: 3 }]);
}

#[test]
fn after_an_unreadable_frame_the_peer_is_told_to_go_away() {
    let mut server = Connection::new(Role::Server);
    server.input().extend_from_slice(b"\x80\x02\0\x01\0\0\0\0");
    let error = server.next_event().unwrap_err();
    assert!(
        matches!(error, ConnectionError::Frame(FrameError::Version(2))),
        "{error:?}"
    );
    assert!(frames(&mut server).contains(&Frame::GoAway { last: 0, status: 1 }));
}

#[test]
fn data_without_a_stream_is_answered_once_and_not_for_every_piece() {
    let mut server = Connection::new(Role::Server);
    let mut frame = BytesMut::new();
    Frame::Data {
        id: 9,
        fin: false,
        bytes: Bytes::from_static(b"whose?"),
    }
    .encode(&mut frame);
    for byte in frame {
        server.input().extend_from_slice(&[byte]);
        assert_eq!(drain(&mut server), []);
    }
    let status = Status::InvalidStream as u32;
    assert_eq!(frames(&mut server), [Frame::RstStream { id: 9, status }]);
}

#[test]
fn nothing_is_told_of_a_stream_after_it_was_reset() {
    let (mut client, mut server) = pair();
    let block = client.packer.pack(&Headers::default());
    Frame::SynStream {
        id: 1,
        fin: true,
        unidirectional: false,
        block,
    }
    .encode(server.input());
    assert!(matches!(
        server.next_event(),
        Ok(Some(Event::Opened { id: 1, .. }))
    ));
    server.reset(1, Status::Refused);
    assert_eq!(drain(&mut server), []);
}

proptest! {
    #[test]
    fn data_arrives_whole_and_in_order(
        pieces in vec((0..3_usize, vec(any::<u8>(), 0..2000)), 0..40),
        cut in 1..5000_usize,
    ) {
        let (mut client, mut server) = pair();
        let ids: Vec<u32> = (0..3).map(|_| client.open(&Headers::default()).unwrap()).collect();
        let mut sent = vec![Vec::new(); 3];
        for (index, piece) in &pieces {
            client.send(ids[*index], &Bytes::from(piece.clone()));
            sent[*index].extend_from_slice(piece);
        }
        for id in &ids {
            client.finish(*id);
        }
        let mut received = vec![Vec::new(); 3];
        let mut ends = 0;
        let output = client.output().split();
        for part in output.chunks(cut) {
            server.input().extend_from_slice(part);
            for event in drain(&mut server) {
                match event {
                    Event::Data { id, bytes } => {
                        received[ids.iter().position(|other| *other == id).unwrap()].extend_from_slice(&bytes);
                    }
                    Event::Finished(_) => ends += 1,
                    _ => {}
                }
            }
        }
        prop_assert_eq!(sent, received);
        prop_assert_eq!(ends, 3);
    }

    #[test]
    fn random_frames_never_panic(
        frames in vec((any::<u8>(), 0..12_u8, any::<u8>(), 0..40_u8, vec(any::<u8>(), 40)), 0..50),
    ) {
        let mut server = Connection::new(Role::Server);
        for (control, kind, flags, length, payload) in frames {
            let first = if control % 3 == 0 { [0, 0, 0, kind] } else { [0x80, 3, 0, kind] };
            server.input().extend_from_slice(&first);
            server.input().extend_from_slice(&[flags, 0, 0, length]);
            server.input().extend_from_slice(&payload[..usize::from(length)]);
        }
        while let Ok(Some(event)) = server.next_event() {
            if let Event::Opened { id, .. } | Event::Data { id, .. } = event {
                server.send(id, &Bytes::from_static(b"x"));
                server.finish(id);
            }
        }
    }
}
