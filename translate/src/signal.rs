//! Stop signals: CRI's enumeration and the names that the Engine takes.

use crate::Invalid;

/// The Engine's name of a stop signal; `None` leaves the choice to the image and the Engine.
pub fn to_engine(signal: i32) -> Result<Option<String>, Invalid> {
    let field = "config.stop_signal";
    let signal = cri::Signal::try_from(signal)
        .map_err(|_| Invalid::new(field, format!("{signal} is no signal of CRI's enumeration")))?;
    if signal == cri::Signal::RuntimeDefault {
        return Ok(None);
    }
    let name = signal.as_str_name().trim_start_matches("SIGNAL_");
    // CRI writes SIGRTMINPLUS1 where the Engine writes SIGRTMIN+1.
    Ok(Some(name.replace("PLUS", "+").replace("MINUS", "-")))
}

/// CRI's value for a signal as the Engine reports it: a name with or without `SIG`, or a number.
///
/// The default where the Engine reports none or one that CRI does not have.
pub fn from_engine(signal: &str) -> i32 {
    let upper = signal.to_ascii_uppercase();
    let name = match upper.parse::<usize>() {
        Ok(number) => named(number),
        Err(_) => upper.strip_prefix("SIG").unwrap_or(&upper).to_owned(),
    };
    let name = name.replace('+', "PLUS").replace('-', "MINUS");
    cri::Signal::from_str_name(&format!("SIGNAL_SIG{name}"))
        .unwrap_or(cri::Signal::RuntimeDefault)
        .into()
}

/// The name of a number. Those of the real-time signals count from the nearer end, as CRI's do.
fn named(number: usize) -> String {
    match number {
        34 => "RTMIN".to_owned(),
        35..=49 => format!("RTMIN+{}", number - 34),
        50..=63 => format!("RTMAX-{}", 64 - number),
        64 => "RTMAX".to_owned(),
        // 32 and 33 are the C library's own.
        _ => NUMBERED.get(number).copied().unwrap_or_default().to_owned(),
    }
}

/// Signal names by their number on Linux, without `SIG`.
const NUMBERED: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_survives_the_round_trip() {
        let signals: Vec<_> = (0..200).filter_map(|n| cri::Signal::try_from(n).ok()).collect();
        assert_eq!(signals.len(), 66);
        for signal in signals {
            let name = to_engine(signal.into()).unwrap_or_default();
            let back = from_engine(name.as_deref().unwrap_or_default());
            assert_eq!(back, i32::from(signal), "{name:?}");
        }
    }

    #[test]
    fn the_engine_may_write_a_signal_in_several_ways() {
        for text in ["SIGTERM", "TERM", "sigterm", "15"] {
            assert_eq!(from_engine(text), i32::from(cri::Signal::Sigterm), "{text}");
        }
        for (number, signal) in [
            (31, cri::Signal::Sigsys),
            (32, cri::Signal::RuntimeDefault),
            (33, cri::Signal::RuntimeDefault),
            (34, cri::Signal::Sigrtmin),
            (37, cri::Signal::Sigrtminplus3),
            (49, cri::Signal::Sigrtminplus15),
            (50, cri::Signal::Sigrtmaxminus14),
            (63, cri::Signal::Sigrtmaxminus1),
            (64, cri::Signal::Sigrtmax),
            (65, cri::Signal::RuntimeDefault),
        ] {
            assert_eq!(from_engine(&number.to_string()), i32::from(signal), "{number}");
        }
        for number in (1..=31).chain(34..=64) {
            let signal = from_engine(&number.to_string());
            assert_ne!(signal, i32::from(cri::Signal::RuntimeDefault), "{number}");
        }
        assert_eq!(
            to_engine(cri::Signal::Sigrtminplus2.into()),
            Ok(Some("SIGRTMIN+2".into()))
        );
        assert!(to_engine(9999).is_err());
    }
}
