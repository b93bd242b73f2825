//! Channels within WebSocket messages: the first byte, or digit, says to which one the rest belongs.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Buf, Bytes};

/// Old servers and clients read messages of at most 32 KiB.
const MAX_MESSAGE: usize = 32 * 1024;
/// In version 5: the channel that the next byte names is closed.
const CLOSE: u8 = 255;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Binary frames: a byte, then the bytes.
    Binary,
    /// Text frames: a digit, then base64, for browsers of old.
    Base64,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Data of a channel; it may be empty.
    Data {
        /// The channel.
        channel: u8,
        /// The data.
        bytes: Bytes,
    },
    /// The client will send nothing more on this channel.
    Close(u8),
}

/// What makes a message unreadable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Its first character is below `0`.
    #[error("it begins with byte {0:#04x} where the digit of a channel should be")]
    Digit(u8),
    /// The rest cannot be decoded.
    #[error("the data of channel {channel} is not base64: {reason}")]
    Base64 {
        /// The channel.
        channel: u8,
        /// What the decoder found.
        reason: base64::DecodeError,
    },
}

impl Encoding {
    /// The most bytes of data for one message.
    pub const fn capacity(self) -> usize {
        match self {
            Self::Binary => MAX_MESSAGE - 1,
            Self::Base64 => (MAX_MESSAGE - 1) / 4 * 3,
        }
    }

    /// How many channels there are: a byte counts to 255, which is taken; a character from `0` ends with ASCII.
    pub const fn channels(self) -> usize {
        match self {
            Self::Binary => CLOSE as usize,
            Self::Base64 => (0x7f - b'0') as usize,
        }
    }

    /// Reads the payload of a message, be it in a text or a binary frame. An empty one says nothing.
    ///
    /// `closes` is whether the client can close channels (version 5).
    pub fn decode(self, mut payload: Bytes, closes: bool) -> Result<Option<Incoming>, ChannelError> {
        let Ok(first) = payload.try_get_u8() else {
            return Ok(None);
        };
        match self {
            Self::Binary if closes && first == CLOSE => Ok(payload.first().copied().map(Incoming::Close)),
            Self::Binary => Ok(Some(Incoming::Data {
                channel: first,
                bytes: payload,
            })),
            Self::Base64 => {
                let channel = first.checked_sub(b'0').ok_or(ChannelError::Digit(first))?;
                let bytes = BASE64.decode(payload.trim_ascii_end());
                let bytes = bytes
                    .map_err(|reason| ChannelError::Base64 { channel, reason })?
                    .into();
                Ok(Some(Incoming::Data { channel, bytes }))
            }
        }
    }

    /// The payload of a message with `data`, at most [`Self::capacity`] bytes, for a `channel` below
    /// [`Self::channels`]. With base64 it is ASCII.
    pub fn encode(self, channel: u8, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Binary => [&[channel], data].concat(),
            Self::Base64 => {
                let mut text = String::with_capacity(data.len() / 3 * 4 + 5);
                text.push(char::from(b'0'.saturating_add(channel)));
                BASE64.encode_string(data, &mut text);
                text.into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn data(channel: u8, bytes: &'static [u8]) -> Option<Incoming> {
        Some(Incoming::Data {
            channel,
            bytes: Bytes::from_static(bytes),
        })
    }

    #[test]
    fn messages_look_as_clients_write_them() {
        assert_eq!(Encoding::Binary.encode(1, b"hi"), b"\x01hi");
        assert_eq!(Encoding::Base64.encode(1, b"hi"), b"1aGk=");
        assert_eq!(Encoding::Base64.encode(3, b""), b"3");
        let decode = |encoding: Encoding, bytes| encoding.decode(Bytes::from_static(bytes), true).unwrap();
        assert_eq!(decode(Encoding::Binary, b"\0ls\n"), data(0, b"ls\n"));
        assert_eq!(decode(Encoding::Binary, b""), None);
        assert_eq!(decode(Encoding::Binary, b"\0"), data(0, b""));
        assert_eq!(decode(Encoding::Base64, b"0bHMK"), data(0, b"ls\n"));
        assert_eq!(
            decode(Encoding::Base64, b"0aGk"),
            data(0, b"hi"),
            "without padding"
        );
        assert_eq!(decode(Encoding::Base64, b"0aGk=\n"), data(0, b"hi"));
    }

    #[test]
    fn only_version_five_closes_channels() {
        let close = Bytes::from_static(&[255, 0]);
        assert_eq!(
            Encoding::Binary.decode(close.clone(), true),
            Ok(Some(Incoming::Close(0)))
        );
        assert_eq!(Encoding::Binary.decode(close, false), Ok(data(255, b"\0")));
        assert_eq!(
            Encoding::Binary.decode(Bytes::from_static(&[255]), true),
            Ok(None)
        );
    }

    #[test]
    fn unreadable_messages_say_why() {
        let error = |bytes| {
            Encoding::Base64
                .decode(Bytes::from_static(bytes), false)
                .unwrap_err()
        };
        assert_eq!(error(b"\0ls"), ChannelError::Digit(0));
        assert!(matches!(error(b"0%%%%"), ChannelError::Base64 { channel: 0, .. }));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(channel in 0..79_u8, bytes in vec(any::<u8>(), 0..500)) {
            for encoding in [Encoding::Binary, Encoding::Base64] {
                let message = encoding.encode(channel, &bytes);
                let expected = Incoming::Data { channel, bytes: bytes.clone().into() };
                prop_assert_eq!(encoding.decode(message.into(), true), Ok(Some(expected)));
            }
        }

        #[test]
        fn a_full_message_is_no_longer_than_old_clients_read(channel in 0..79_u8) {
            for encoding in [Encoding::Binary, Encoding::Base64] {
                prop_assert!(encoding.encode(channel, &vec![7; encoding.capacity()]).len() <= MAX_MESSAGE);
            }
        }

        #[test]
        fn random_messages_never_panic(bytes in vec(any::<u8>(), 0..100), closes: bool) {
            let _ = Encoding::Binary.decode(bytes.clone().into(), closes);
            let _ = Encoding::Base64.decode(bytes.into(), closes);
        }
    }
}
