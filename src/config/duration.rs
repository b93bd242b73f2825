use std::time::Duration;

/// Reads a duration as Go writes it: `1m30s`, `500ms`, `1.5h`, `0`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration such as 90s or 1m30s, found {text:?}");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (value, tail) = rest.split_at(number);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let value: f64 = value.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(value * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        let cases = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("1m0s", Some(60_000)),
            ("1.5h", Some(5_400_000)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("99999999999999999999h", None),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(
                parse(text).ok(),
                milliseconds.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }
}
