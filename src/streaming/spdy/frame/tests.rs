#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn decode(bytes: &[u8], cut: usize) -> Result<Vec<Frame>, FrameError> {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for part in bytes.chunks(cut) {
        decoder.buffer().extend_from_slice(part);
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

#[test]
fn frames_look_as_the_specification_draws_them() {
    let cases: [(Frame, &[u8]); 6] = [
        (
            Frame::SynStream {
                id: 1,
                fin: false,
                unidirectional: true,
                block: Bytes::from_static(b"hb"),
            },
            b"\x80\x03\0\x01\x02\0\0\x0c\0\0\0\x01\0\0\0\0\0\0hb",
        ),
        (
            Frame::SynReply {
                id: 3,
                fin: true,
                block: Bytes::new(),
            },
            b"\x80\x03\0\x02\x01\0\0\x04\0\0\0\x03",
        ),
        (
            Frame::RstStream { id: 5, status: 3 },
            b"\x80\x03\0\x03\0\0\0\x08\0\0\0\x05\0\0\0\x03",
        ),
        (Frame::Ping(7), b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x07"),
        (
            Frame::GoAway { last: 9, status: 0 },
            b"\x80\x03\0\x07\0\0\0\x08\0\0\0\x09\0\0\0\0",
        ),
        (
            Frame::Data {
                id: 11,
                fin: true,
                bytes: Bytes::from_static(b"abc"),
            },
            b"\0\0\0\x0b\x01\0\0\x03abc",
        ),
    ];
    for (frame, bytes) in cases {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        assert_eq!(out, bytes, "{frame:?}");
        assert_eq!(decode(bytes, usize::MAX).unwrap(), [frame]);
    }
}

#[test]
fn a_long_data_frame_comes_in_pieces_and_ends_once() {
    let mut out = BytesMut::new();
    Frame::Data {
        id: 1,
        fin: true,
        bytes: vec![7; 100_000].into(),
    }
    .encode(&mut out);
    let frames = decode(&out, usize::MAX).unwrap();
    let sizes: Vec<_> = frames
        .iter()
        .map(|frame| match frame {
            Frame::Data { id: 1, fin, bytes } => (bytes.len(), *fin),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        sizes,
        [
            (PIECE, false),
            (PIECE, false),
            (PIECE, false),
            (100_000 - 3 * PIECE, true)
        ]
    );
}

#[test]
fn what_cannot_be_read_says_why() {
    assert_eq!(decode(b"\x80\x02\0\x01\0\0\0\0", 8), Err(FrameError::Version(2)));
    let long = decode(b"\x80\x03\0\x01\0\xff\xff\xff", 8);
    assert_eq!(
        long,
        Err(FrameError::TooLong {
            kind: 1,
            length: 0x00ff_ffff
        })
    );
    let short = decode(b"\x80\x03\0\x06\0\0\0\x02\0\0", 10);
    assert_eq!(short, Err(FrameError::TooShort { kind: 6, length: 2 }));
}

fn frame() -> impl Strategy<Value = Frame> {
    let id = 0..=ID;
    let block = || vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        (id.clone(), any::<bool>(), any::<bool>(), block()).prop_map(|(id, fin, unidirectional, block)| {
            Frame::SynStream {
                id,
                fin,
                unidirectional,
                block,
            }
        }),
        (id.clone(), any::<bool>(), block()).prop_map(|(id, fin, block)| Frame::SynReply { id, fin, block }),
        (id.clone(), any::<bool>(), block()).prop_map(|(id, fin, block)| Frame::Headers { id, fin, block }),
        (id.clone(), any::<u32>()).prop_map(|(id, status)| Frame::RstStream { id, status }),
        any::<u32>().prop_map(Frame::Ping),
        (id.clone(), any::<u32>()).prop_map(|(last, status)| Frame::GoAway { last, status }),
        Just(Frame::Ignored(9)),
        (id, any::<bool>(), block()).prop_map(|(id, fin, bytes)| Frame::Data { id, fin, bytes }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(frames in vec(frame(), 0..20)) {
        let mut out = BytesMut::new();
        for frame in &frames {
            frame.encode(&mut out);
        }
        prop_assert_eq!(decode(&out, usize::MAX).unwrap(), frames);
    }

    #[test]
    fn any_cut_gives_the_same_but_for_the_pieces_of_data(frames in vec(frame(), 1..20), cut in 1..50_usize) {
        let mut out = BytesMut::new();
        for frame in &frames {
            frame.encode(&mut out);
        }
        let mut again = BytesMut::new();
        for frame in decode(&out, cut).unwrap() {
            frame.encode(&mut again);
        }
        let control = |bytes: &[u8]| -> Vec<Frame> {
            let all = decode(bytes, usize::MAX).unwrap();
            all.into_iter().filter(|frame| !matches!(frame, Frame::Data { .. })).collect()
        };
        let data = |bytes: &[u8]| -> Vec<u8> {
            decode(bytes, usize::MAX).unwrap().iter().flat_map(|frame| match frame {
                Frame::Data { bytes, .. } => bytes.to_vec(),
                _ => Vec::new(),
            }).collect()
        };
        prop_assert_eq!(control(&out), control(&again));
        prop_assert_eq!(data(&out), data(&again));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..2000), cut in 1..100_usize) {
        let _ = decode(&bytes, cut);
        let mut control = bytes;
        if let Some(start) = control.get_mut(..2) {
            start.copy_from_slice(&[0x80, 3]);
        }
        let _ = decode(&control, cut);
    }
}
