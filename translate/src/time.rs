//! Points in time as CRI counts them: nanoseconds since the epoch.

use jiff::Timestamp;

/// Reads the Engine's RFC 3339 text; its "never", in year 1, and anything unreadable is 0.
pub fn nanoseconds(text: &str) -> i64 {
    let parsed = text.parse::<Timestamp>().map_or(0, Timestamp::as_nanosecond);
    i64::try_from(parsed.max(0)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(
            nanoseconds("2026-11-21T20:01:02.123456789Z"),
            1_795_291_262_123_456_789
        );
        assert_eq!(nanoseconds("1970-01-01T01:00:01+01:00"), 1_000_000_000);
        for never in ["0001-01-01T00:00:00Z", "", "soon"] {
            assert_eq!(nanoseconds(never), 0);
        }
    }
}
