//! How much processor time is used just now.

/// Below this, two samples say more about the kernel's own bookkeeping than about the container.
const SHORTEST: u64 = 1_000_000_000;

/// The kubelet forgets earlier samples after this, too. An average over more says nothing about now.
const LONGEST: u64 = 600_000_000_000;

/// The last sample that counts, and what it gave.
///
/// Callers come at intervals of their own, so a sample that follows too soon upon the last is answered with the
/// value that is there, and the last stays the one to compare with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    last: Option<(u64, u64)>,
    cores: Option<u64>,
}

impl Rate {
    /// Takes a sample of the time used up to now, `usage`, at `at` of a clock that never goes back; all in
    /// nanoseconds. Returns billionths of a core, once there are two samples.
    pub fn sample(&mut self, at: u64, usage: u64) -> Option<u64> {
        let Some((before, used)) = self.last else {
            self.last = Some((at, usage));
            return None;
        };
        let span = at.saturating_sub(before);
        if usage >= used && span < SHORTEST {
            return self.cores;
        }
        self.last = Some((at, usage));
        // Less than before: the container was started again.
        self.cores = match usage.checked_sub(used) {
            Some(more) if span <= LONGEST => {
                let cores = u128::from(more) * 1_000_000_000 / u128::from(span);
                u64::try_from(cores).ok()
            }
            _ => None,
        };
        self.cores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn two_samples_make_a_rate() {
        let mut rate = Rate::default();
        assert_eq!(rate.sample(5 * SECOND, 7 * SECOND), None);
        // Too soon.
        assert_eq!(rate.sample(5 * SECOND + 1, 8 * SECOND), None);
        assert_eq!(rate.sample(7 * SECOND, 8 * SECOND), Some(SECOND / 2));
        assert_eq!(rate.sample(7 * SECOND + 5, 9 * SECOND), Some(SECOND / 2));
        assert_eq!(rate.sample(8 * SECOND, 10 * SECOND), Some(2 * SECOND));
        // Idle is a rate.
        assert_eq!(rate.sample(10 * SECOND, 10 * SECOND), Some(0));
    }

    #[test]
    fn a_restart_or_a_long_pause_begins_anew() {
        let mut rate = Rate::default();
        rate.sample(0, 100 * SECOND);
        assert_eq!(rate.sample(SECOND, 101 * SECOND), Some(SECOND));
        assert_eq!(rate.sample(2 * SECOND, 0), None);
        assert_eq!(rate.sample(3 * SECOND, SECOND), Some(SECOND));
        assert_eq!(rate.sample(3 * SECOND + LONGEST + 1, 2 * SECOND), None);
        // A clock that stands still is no division by zero.
        let mut rate = Rate::default();
        rate.sample(SECOND, 5);
        assert_eq!(rate.sample(SECOND, 4), None);
        assert_eq!(rate.sample(0, u64::MAX), None);
    }
}
