//! Time stamps in logs.

/// A time stamp of a log line, in an order that its text does not have: RFC 3339 leaves out the zeros at
/// the end of the fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The digits of year, month, day, hour, minute and second.
    second: u64,
    nanosecond: u32,
}

impl Stamp {
    /// Reads `2026-11-21T20:01:02.123456789Z`, as the Engine writes it: in UTC, with up to nine digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        const PATTERN: &[u8; 19] = b"0000-00-00T00:00:00";
        let (whole, rest) = text.split_at_checked(PATTERN.len())?;
        let mut second = 0u64;
        for (byte, pattern) in whole.iter().zip(PATTERN) {
            match pattern {
                b'0' => second = second * 10 + digit(*byte)?,
                other => (byte == other).then_some(())?,
            }
        }
        let (b'Z', fraction) = rest.split_last()? else {
            return None;
        };
        let mut nanosecond = 0;
        if let Some(digits) = fraction.strip_prefix(b".") {
            if digits.is_empty() || digits.len() > 9 {
                return None;
            }
            for index in 0..9 {
                let value = digits.get(index).map_or(Some(0), |byte| digit(*byte))?;
                nanosecond = nanosecond * 10 + u32::try_from(value).ok()?;
            }
        } else if !fraction.is_empty() {
            return None;
        }
        Some(Self { second, nanosecond })
    }
}

fn digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_ordered_as_times_are() {
        let texts = [
            "2025-12-31T23:59:59.999999999Z",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.000000001Z",
            "2026-01-01T00:00:00.1Z",
            "2026-01-01T00:00:00.11Z",
            "2026-01-01T00:00:01Z",
        ];
        let stamps: Vec<_> = texts.iter().map(|text| Stamp::parse(text.as_bytes())).collect();
        assert!(stamps.iter().all(Option::is_some));
        assert!(stamps.is_sorted());
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+01:00",
            "yyyy-01-01T00:00:00Z",
        ] {
            assert_eq!(Stamp::parse(text.as_bytes()), None, "{text}");
        }
    }
}
