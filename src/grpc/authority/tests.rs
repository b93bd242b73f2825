#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::timeout,
};
use tonic::codegen::http::uri::Authority;

use super::{
    hpack::{examine, put_integer},
    *,
};

/// A header instruction's first bits and the width of its name index.
const INDEXED: (u8, u32) = (0b0100_0000, 6);
const WITHOUT: (u8, u32) = (0, 4);
const NEVER: (u8, u32) = (0b0001_0000, 4);

#[derive(Debug, Clone, Copy)]
enum Name {
    Static,
    Plain,
    Huffman,
}

fn string(text: &[u8], huffman: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let coded = if huffman {
        huffman::encode(text)
    } else {
        text.to_vec()
    };
    put_integer(&mut out, if huffman { 0x80 } else { 0 }, 7, coded.len());
    out.extend(coded);
    out
}

fn authority(keep: (u8, u32), name: Name, value: &[u8], huffman: bool) -> Vec<u8> {
    let mut out = Vec::new();
    match name {
        Name::Static => put_integer(&mut out, keep.0, keep.1, 1),
        Name::Plain => out.extend([&[keep.0], &*string(b":authority", false)].concat()),
        Name::Huffman => out.extend([&[keep.0], &*string(b":authority", true)].concat()),
    }
    out.extend(string(value, huffman));
    out
}

fn repaired(keep: (u8, u32), value: &[u8]) -> Vec<u8> {
    authority(keep, Name::Static, value, false)
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

fn headers(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, block)
}

fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, b"\0\0\0\x04\0\0\0\0\0", &frames.concat()].concat()
}

fn filtered(input: &[u8]) -> (Vec<u8>, bool) {
    let (mut filter, mut out) = (Filter::default(), Vec::new());
    filter.push(input, &mut out);
    let through = filter.is_through();
    filter.finish(&mut out);
    (out, through)
}

#[test]
fn what_becomes_of_an_authority() {
    let cases: [(&[u8], Option<&[u8]>); 14] = [
        (b"localhost", None),
        (b"localhost:10", None),
        (b"[::1]:80", None),
        (b"user%2F@host", None),
        (b"/var/run/x.sock", Some(b"-var-run-x.sock")),
        (b"%2Frun%2Fx.sock", Some(b"-2Frun-2Fx.sock")),
        (b"unix:/run/x.sock", Some(b"unix--run-x.sock")),
        (b"a:b:c", Some(b"a-b-c")),
        (b"x@", Some(b"x-")),
        (b"[::1", Some(b"---1")),
        (b"\xff\xfe", Some(b"--")),
        (b"a b", Some(b"a-b")),
        (b"?", Some(b"-")),
        (b"~/_x", Some(b"~-_x")),
    ];
    for (value, cured) in cases {
        for keep in [INDEXED, WITHOUT, NEVER] {
            for name in [Name::Static, Name::Plain, Name::Huffman] {
                for huffman in [false, true] {
                    let expected = match cured {
                        None => Finding::Legal,
                        Some(cured) => Finding::Repaired(repaired(keep, cured)),
                    };
                    let block = authority(keep, name, value, huffman);
                    assert_eq!(
                        examine(&block, true),
                        expected,
                        "{value:?} {keep:?} {name:?} {huffman}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_empty_authority_is_cured_where_no_table_changes() {
    let localhost = Finding::Repaired(repaired(WITHOUT, b"localhost"));
    assert_eq!(examine(b"\x81", true), localhost, "from the static table");
    assert_eq!(
        examine(&authority(WITHOUT, Name::Plain, b"", false), true),
        localhost
    );
    let never = Finding::Repaired(repaired(NEVER, b"localhost"));
    assert_eq!(examine(&authority(NEVER, Name::Static, b"", true), true), never);
    assert_eq!(
        examine(&authority(INDEXED, Name::Static, b"", false), true),
        Finding::Nothing
    );
}

#[test]
fn the_rest_of_a_block_stays_byte_for_byte() {
    let before: &[u8] = b"\x3f\xe1\x1f\x83\x86\x44\x85\x60\xd5\x48\x5f\x3f";
    let after: &[u8] = b"\x40\x02te\x08trailers\xbe\x0f\x0d\x021x";
    let block = |middle: &[u8]| [before, middle, after].concat();
    let found = examine(&block(&authority(INDEXED, Name::Huffman, b"/x", true)), true);
    assert_eq!(found, Finding::Repaired(block(&repaired(INDEXED, b"-x"))));
    assert_eq!(
        examine(&block(&authority(INDEXED, Name::Static, b"x", true)), true),
        Finding::Legal
    );
    assert_eq!(examine(&block(b""), true), Finding::Nothing);
}

#[test]
fn malformed_blocks_pass() {
    let bad = authority(INDEXED, Name::Static, b"/x", false);
    let tails: [&[u8]; 6] = [
        b"\x41",                             // no value
        b"\x41\x05/x",                       // a value cut off
        b"\x41\x82\xff\xff",                 // a broken Huffman code
        b"\x00\x81\xff\x01x",                // the same in a name
        b"\xff\xff\xff\xff\xff\xff\xff\x01", // an absurd index
        b"\x40\x7f\xff\xff\xff\x7f",         // an absurd length
    ];
    for tail in tails {
        let block = [&bad, tail].concat();
        assert_eq!(examine(&block, true), Finding::Nothing, "{tail:?}");
        let stream = connection(&[headers(&block)]);
        assert_eq!(filtered(&stream), (stream, false));
    }
}

#[test]
fn padding_and_priority_stay_and_the_length_follows() {
    let block = authority(INDEXED, Name::Static, b"/aaaaaaaaaaaa", true);
    let cured = repaired(INDEXED, b"-aaaaaaaaaaaa");
    assert_ne!(block.len(), cured.len());
    let cases: [(u8, &[u8], &[u8]); 4] = [
        (0, b"", b""),
        (PADDED, b"\x03", b"\0\0\0"),
        (PRIORITY, b"\x80\0\0\x03\x10", b""),
        (PADDED | PRIORITY, b"\x02\0\0\0\0\x05", b"\0\0"),
    ];
    for (flags, start, end) in cases {
        let whole = |block: &[u8]| frame(HEADERS, flags | END_HEADERS, &[start, block, end].concat());
        let data = frame(0, 1, b"a message");
        let input = connection(&[whole(&block), data.clone()]);
        assert_eq!(
            filtered(&input),
            (connection(&[whole(&cured), data]), false),
            "flags {flags:#x}"
        );
    }
    // Padding longer than the frame, and a frame too short for its flags.
    for payload in [b"\xf0\x41\x02/x".as_slice(), b"\x00\x41"] {
        let input = connection(&[frame(HEADERS, END_HEADERS | PADDED | PRIORITY, payload)]);
        assert_eq!(filtered(&input), (input, false));
    }
}

#[test]
fn a_block_in_several_frames_is_cured_in_the_first() {
    let bad = authority(INDEXED, Name::Static, b"/x", false);
    // The first frame ends inside of an instruction.
    let (first, second) = (b"\x40\x02te\x08trai".as_slice(), b"lers".as_slice());
    let frames = |authority: &[u8]| {
        [
            frame(HEADERS, 0, &[authority, first].concat()),
            frame(9, END_HEADERS, second),
        ]
    };
    let input = connection(&frames(&bad));
    assert_eq!(filtered(&input).0, connection(&frames(&repaired(INDEXED, b"-x"))));
}

#[test]
fn a_legal_authority_ends_the_work() {
    let good = headers(&authority(INDEXED, Name::Plain, b"localhost", true));
    let bad = headers(&authority(INDEXED, Name::Plain, b"/x", true));
    let (out, through) = filtered(&connection(&[good.clone(), bad.clone()]));
    assert!(through);
    assert_eq!(out, connection(&[good, bad.clone()]));
    // An illegal one does not: its client will send more of them.
    assert!(!filtered(&connection(&[bad])).1);
}

#[test]
fn other_protocols_pass() {
    for input in [
        b"GET / HTTP/1.1\r\nHost: /x\r\n\r\n".as_slice(),
        b"P",
        b"PRI * HTTP/2.0\r\n\r\nSN",
    ] {
        assert_eq!(filtered(input).0, input);
    }
}

#[test]
fn frames_beyond_the_maximum_are_never_held() {
    let mut filter = Filter::default();
    let mut out = Vec::new();
    let input = connection(&[frame(HEADERS, END_HEADERS, &vec![0x82; MAX_PAYLOAD + 1])]);
    filter.push(&input[..input.len() - 1], &mut out);
    assert_eq!(out.len(), input.len() - 1);
    // And none is made: this block fits only with its Huffman code.
    let block = [
        authority(INDEXED, Name::Static, b"/aaaaaaaaaaaaaaa", true),
        vec![0x82; MAX_PAYLOAD - 13],
    ]
    .concat();
    assert!(block.len() <= MAX_PAYLOAD);
    let input = connection(&[headers(&block)]);
    assert_eq!(filtered(&input), (input, false));
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "(unix:)?(/|%2F)[a-z0-9./%_-]{0,40}".prop_map(String::into_bytes),
        1 => "[a-z]{1,9}(:[0-9]{1,5})?".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..60),
        1 => vec(any::<u8>(), 100..400),
    ]
}

fn literals() -> impl Strategy<Value = Vec<u8>> {
    let keep = sample::select(vec![INDEXED, WITHOUT, NEVER]);
    let name = sample::select(vec![Name::Static, Name::Plain, Name::Huffman]);
    (keep, name, values(), any::<bool>())
        .prop_map(|(keep, name, value, huffman)| authority(keep, name, &value, huffman))
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let good = (option::of(literals()), vec(0x82_u8..0xbf, 0..4))
        .prop_map(|(authority, rest)| headers(&[authority.unwrap_or_default(), rest].concat()));
    let odd = (0..10_u8, any::<u8>(), vec(any::<u8>(), 0..80))
        .prop_map(|(kind, flags, payload)| frame(kind, flags, &payload));
    prop_oneof![3 => good, 2 => odd]
}

proptest! {
    #[test]
    fn splitting_changes_nothing(
        frames in vec(frames(), 0..6),
        junk in vec(any::<u8>(), 0..20),
        mut cuts in vec(any::<sample::Index>(), 0..12),
    ) {
        let input = [connection(&frames), junk].concat();
        let (whole, _) = filtered(&input);
        cuts.sort_by_key(|cut| cut.index(input.len()));
        let (mut filter, mut out, mut at) = (Filter::default(), Vec::new(), 0);
        for cut in cuts {
            let cut = cut.index(input.len());
            filter.push(&input[at..cut], &mut out);
            at = cut;
        }
        for byte in &input[at..] {
            filter.push(&[*byte], &mut out);
            prop_assert!(filter.held.len() <= FRAME_HEADER + MAX_PAYLOAD);
        }
        filter.finish(&mut out);
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn anything_at_all_is_survived(input in vec(any::<u8>(), 0..400)) {
        let _ = examine(&input, true);
        let _ = examine(&input, false);
        let stream = [PREFACE, &input].concat();
        prop_assert!(filtered(&stream).0.len() >= PREFACE.len());
    }

    #[test]
    fn a_repair_is_legal_and_as_long(value in values().prop_filter("not empty", |value| !value.is_empty())) {
        let block = authority(INDEXED, Name::Huffman, &value, true);
        match examine(&block, true) {
            Finding::Legal => prop_assert!(Authority::try_from(&*value).is_ok()),
            Finding::Repaired(cured) => {
                let text = &cured[cured.len() - value.len()..];
                prop_assert_eq!(&cured, &repaired(INDEXED, text));
                prop_assert!(Authority::try_from(text).is_ok());
                prop_assert!(examine(&cured, true) == Finding::Legal);
            }
            Finding::Nothing => prop_assert!(false, "nothing found"),
        }
    }
}

/// One request as an HTTP/2 client sends it: `authority`, and a header that the table remembers after it.
fn request(stream: u8, authority: &[u8], mark: &[u8]) -> Vec<u8> {
    let mut whole = headers(&[b"\x83\x86\x04\x02/p", authority, mark].concat());
    whole[4] |= 1; // END_STREAM
    whole[8] = stream;
    whole
}

/// The decoder that tonic uses reads the repaired stream: two requests, the second of which names both
/// headers by their index in the dynamic table.
async fn served(literal: &[u8], in_table: bool, split: usize) -> Result<(), h2::Error> {
    let (client, server) = duplex(split);
    let (mut answers, mut client) = tokio::io::split(client);
    let mark = b"\x40\x01m\x03one";
    let again: &[u8] = if in_table { b"\xbf" } else { literal };
    let input = connection(&[request(1, literal, mark), request(3, again, b"\xbe")]);
    let writer = tokio::spawn(async move { client.write_all(&input).await.unwrap() });
    let reader = tokio::spawn(async move { answers.read_to_end(&mut Vec::new()).await.unwrap() });
    let mut connection = h2::server::handshake(Repaired::new(server)).await?;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (request, _) = connection.accept().await.expect("the connection goes on")?;
        assert_eq!(request.uri().path(), "/p");
        assert_eq!(request.headers()["m"], "one");
        seen.push(request.uri().authority().map(ToString::to_string));
    }
    assert!(seen[0].is_some());
    assert_eq!(seen[0], seen[1]);
    writer.await.unwrap();
    reader.abort();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn h2_serves_what_was_repaired(
        keep in sample::select(vec![INDEXED, WITHOUT, NEVER]),
        name in sample::select(vec![Name::Static, Name::Plain, Name::Huffman]),
        value in values(),
        huffman: bool,
        split in 1_usize..200,
    ) {
        prop_assume!(!(value.is_empty() && keep == INDEXED));
        let literal = authority(keep, name, &value, huffman);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let served = async { timeout(Duration::from_secs(10), served(&literal, keep == INDEXED, split)).await };
        runtime.block_on(served).unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_empty_authority_of_the_static_table_is_served() {
    served(b"\x81", false, 64).await.unwrap();
}

/// A stream that is through costs no buffer, and bytes that came with the last frame are not lost.
#[tokio::test]
async fn the_stream_goes_through_in_the_end() {
    let good = connection(&[headers(&authority(INDEXED, Name::Static, b"localhost", false))]);
    let (mut client, server) = duplex(1 << 16);
    let mut repaired = Repaired::new(server);
    client.write_all(&[&*good, b"and more"].concat()).await.unwrap();
    let mut read = vec![0; good.len() + 8];
    repaired.read_exact(&mut read[..5]).await.unwrap();
    repaired.read_exact(&mut read[5..]).await.unwrap();
    assert_eq!(read, [&*good, b"and more"].concat());
    client.write_all(&[7; 50_000]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    repaired.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, [7; 50_000]);
    assert_eq!(repaired.buffered(), 0);
    repaired.write_all(b"answer").await.unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
}

/// A client that closes in the middle of a frame: what it sent arrives, then the end.
#[tokio::test]
async fn a_cut_frame_arrives_as_it_is() {
    let whole = connection(&[headers(&authority(INDEXED, Name::Static, b"/x", false))]);
    let (mut client, server) = duplex(64);
    client.write_all(&whole[..whole.len() - 1]).await.unwrap();
    drop(client);
    let mut read = Vec::new();
    Repaired::new(server).read_to_end(&mut read).await.unwrap();
    assert_eq!(read, whole[..whole.len() - 1]);
}
