//! The `bandwidth` capability, from the annotations that the kubelet hands down for a pod.

use serde::Serialize;

use crate::Invalid;

/// The annotation that limits what a pod receives.
pub const INGRESS_ANNOTATION: &str = "kubernetes.io/ingress-bandwidth";
/// The annotation that limits what a pod sends.
pub const EGRESS_ANNOTATION: &str = "kubernetes.io/egress-bandwidth";

/// Rates in bits per second, bursts in bits; 0 is no limit and is not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    #[serde(skip_serializing_if = "is_zero")]
    ingress_rate: u64,
    #[serde(skip_serializing_if = "is_zero")]
    ingress_burst: u64,
    #[serde(skip_serializing_if = "is_zero")]
    egress_rate: u64,
    #[serde(skip_serializing_if = "is_zero")]
    egress_burst: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// The burst of every limit: the largest the bandwidth plugin's field takes on 32 bits, in
/// practice no limit of its own.
const BURST: u64 = i32::MAX as u64;
/// 1k and 1P, the bounds Kubernetes sets.
const SLOWEST: u64 = 1_000;
const FASTEST: u64 = 1_000_000_000_000_000;

impl Bandwidth {
    /// The limits that a pod's annotations ask for; `None` if they ask for none.
    ///
    /// # Errors
    ///
    /// An annotation that is not a quantity between 1k and 1P, named.
    pub fn from_annotations<'a>(
        annotation: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<Self>, Invalid> {
        let rate = |name: &str| annotation(name).map(|value| parse_rate(name, value)).transpose();
        let (ingress, egress) = (rate(INGRESS_ANNOTATION)?, rate(EGRESS_ANNOTATION)?);
        if ingress.is_none() && egress.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            ingress_rate: ingress.unwrap_or(0),
            ingress_burst: ingress.map_or(0, |_| BURST),
            egress_rate: egress.unwrap_or(0),
            egress_burst: egress.map_or(0, |_| BURST),
        }))
    }
}

fn parse_rate(annotation: &str, value: &str) -> Result<u64, Invalid> {
    let invalid = |why: String| Invalid::new(format!("config.annotations[{annotation}]"), why);
    let rate = quantity(value).ok_or_else(|| invalid(format!("{value:?} is not a quantity such as 10M")))?;
    if rate < i128::from(SLOWEST) {
        return Err(invalid(format!("{value:?} is unreasonably small (< 1kbit)")));
    }
    u64::try_from(rate)
        .ok()
        .filter(|rate| *rate <= FASTEST)
        .ok_or_else(|| invalid(format!("{value:?} is unreasonably large (> 1Pbit)")))
}

/// Reads a Kubernetes quantity, rounded up to a whole number.
///
/// Values outside of what fits are clamped: the caller's bounds are far inside.
fn quantity(text: &str) -> Option<i128> {
    // What fits: this many, times the largest power of two, is still an i128.
    const ENOUGH_DIGITS: i128 = 1 << 60;
    const LIMIT: i128 = 1 << 126;
    let (negative, rest) = match text.as_bytes().first()? {
        b'+' => (false, &text[1..]),
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    let number_ends = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(number_ends);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (tens, twos) = exponent(suffix)?;
    // The digits as one integer, and where its point is.
    let mut digits: i128 = 0;
    let mut point = tens;
    let mut cut = false;
    for (index, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let is_fraction = index >= whole.len();
        if digits >= ENOUGH_DIGITS {
            // Too many digits to matter: whole ones only move the point, fractional ones round up.
            cut |= digit != b'0';
            point = point.saturating_add(i32::from(!is_fraction));
            continue;
        }
        digits = digits * 10 + i128::from(digit - b'0');
        point = point.saturating_sub(i32::from(is_fraction));
    }
    let mut value = digits << twos;
    for _ in 0..point.clamp(0, 64) {
        value = value.saturating_mul(10).min(LIMIT);
    }
    for _ in 0..point.saturating_neg().clamp(0, 64) {
        cut |= value % 10 != 0;
        value /= 10;
    }
    // Rounded away from zero, as Kubernetes does; the sign decides which way that is.
    value += i128::from(cut);
    Some(if negative { -value } else { value })
}

/// The powers of ten and of two that a quantity's suffix stands for.
fn exponent(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (suffix.strip_prefix(['e', 'E'])?.parse().ok()?, 0),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, value) in [
            ("0", 0),
            ("1k", 1_000),
            ("10M", 10_000_000),
            ("1.5G", 1_500_000_000),
            ("1Ki", 1_024),
            ("1.5Ki", 1_536),
            ("1.0001Ki", 1_025),
            ("1e3", 1_000),
            ("12E6", 12_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("1500m", 2),
            ("1n", 1),
            ("-5", -5),
            ("+5", 5),
            (".5k", 500),
            ("5.", 5),
            ("1P", 1_000_000_000_000_000),
        ] {
            assert_eq!(quantity(text), Some(value), "{text}");
        }
        for text in [
            "", "k", "1kk", "1 k", "ten", "1e", "1.2.3", "0x10", ".", "1K", "-",
        ] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn annotations_become_rates_with_the_largest_burst() {
        let of = |ingress: Option<&'static str>, egress: Option<&'static str>| {
            Bandwidth::from_annotations(move |name| match name {
                INGRESS_ANNOTATION => ingress,
                EGRESS_ANNOTATION => egress,
                _ => None,
            })
        };
        assert_eq!(of(None, None), Ok(None));
        assert_eq!(
            serde_json::to_string(&of(Some("1M"), None).unwrap()).unwrap(),
            r#"{"ingressRate":1000000,"ingressBurst":2147483647}"#
        );
        assert_eq!(
            serde_json::to_string(&of(Some("1k"), Some("1P")).unwrap()).unwrap(),
            concat!(
                r#"{"ingressRate":1000,"ingressBurst":2147483647,"#,
                r#""egressRate":1000000000000000,"egressBurst":2147483647}"#
            )
        );
        assert_eq!(
            of(None, Some("999")).unwrap_err().to_string(),
            "config.annotations[kubernetes.io/egress-bandwidth]: \"999\" is unreasonably small (< 1kbit)"
        );
        assert!(of(Some("2P"), None).unwrap_err().why.contains("large"));
        assert!(
            of(Some("99999999999999999999999999E"), None)
                .unwrap_err()
                .why
                .contains("large")
        );
        assert!(of(Some("-1M"), None).unwrap_err().why.contains("small"));
        assert!(of(Some("fast"), None).unwrap_err().why.contains("not a quantity"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = quantity(&text);
        }

        #[test]
        fn no_number_makes_it_panic(text in "[-+]?[0-9]{0,60}\\.?[0-9]{0,60}([eE]-?[0-9]{1,11}|[numkMGTPE]|[KMGTPE]i)?") {
            let _ = quantity(&text);
        }
    }
}
