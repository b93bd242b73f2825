//! Whether a pull gets anywhere.
//!
//! A registry that stops sending without closing leaves a pull hanging for good, and the kubelet sets no
//! deadline. Messages alone prove nothing: the Engine counts the seconds to its next attempt aloud.
//! Silence alone proves nothing either: a layer may wait behind other pulls, or take minutes to unpack.

use std::collections::BTreeMap;
use std::time::Duration;

use super::PullMessage;

/// What the pull's next step depends on, as far as the messages tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// The registry is to send something.
    Registry,
    /// Other pulls occupy the Engine's download slots.
    Turn,
    /// The Engine is checking or unpacking what it has.
    Disk,
}

/// The stages of a layer. `Other` is a status this code does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Requested,
    Waiting,
    Downloading,
    Retrying,
    Verifying,
    Downloaded,
    Extracting,
    Done,
    Other,
}

impl Phase {
    fn of(status: &str) -> Self {
        match status {
            "Pulling fs layer" => Self::Requested,
            "Waiting" => Self::Waiting,
            "Downloading" => Self::Downloading,
            "Verifying Checksum" => Self::Verifying,
            "Download complete" => Self::Downloaded,
            "Extracting" => Self::Extracting,
            "Pull complete" | "Already exists" => Self::Done,
            _ if retry_seconds(status).is_some() => Self::Retrying,
            _ => Self::Other,
        }
    }
}

/// Follows one pull. Times are the durations since it began, told by the caller.
#[derive(Debug, Default)]
pub struct PullProgress {
    layers: BTreeMap<String, Layer>,
    /// The last status that belongs to no layer.
    status: String,
    failure: Option<String>,
    last: Duration,
}

#[derive(Debug)]
struct Layer {
    phase: Phase,
    /// Bytes reached in each phase, over all attempts: bytes fetched again are no progress.
    reached: BTreeMap<Phase, i64>,
    /// Seconds left until the next attempt.
    countdown: i64,
    status: String,
}

impl PullProgress {
    /// A pull that has just begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next message, read at `now`.
    pub fn observe(&mut self, message: &PullMessage, now: Duration) {
        if let Some(text) = message.failure() {
            // The first is the cause of any other.
            self.failure.get_or_insert_with(|| text.to_owned());
        }
        if self.is_progress(message) {
            self.last = now;
        }
    }

    /// How long, at `now`, nothing has moved.
    ///
    /// What moves a pull: a layer's next stage, more bytes of it than ever before, the beginning of another
    /// attempt (the Engine makes few, and says the true cause after the last).
    pub fn idle(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last)
    }

    /// What it is idle for: the limit is another for each.
    pub fn waiting_for(&self) -> WaitingFor {
        let any = |phases: &[Phase]| self.layers.values().any(|layer| phases.contains(&layer.phase));
        if any(&[Phase::Extracting, Phase::Verifying]) {
            WaitingFor::Disk
        } else if self.layers.is_empty()
            || any(&[
                Phase::Requested,
                Phase::Downloading,
                Phase::Retrying,
                Phase::Other,
            ])
        {
            WaitingFor::Registry
        } else if any(&[Phase::Waiting]) {
            WaitingFor::Turn
        } else {
            // Every layer is here, the image is yet to be put together.
            WaitingFor::Disk
        }
    }

    /// How the pull went, once its stream has ended.
    ///
    /// # Errors
    ///
    /// The Engine's text, for [`classify`](super::classify).
    pub fn outcome(&self) -> Result<(), &str> {
        self.failure.as_deref().map_or(Ok(()), Err)
    }

    fn is_progress(&mut self, message: &PullMessage) -> bool {
        let Some(status) = message.status.as_deref() else {
            return false;
        };
        let layer = match message.id.as_deref() {
            // The line that names the tag is no layer's.
            Some(id) if !status.starts_with("Pulling from ") => id,
            _ => {
                let new = self.status != status;
                status.clone_into(&mut self.status);
                return new;
            }
        };
        let current = message
            .progress_detail
            .and_then(|detail| detail.current)
            .unwrap_or(0);
        if let Some(layer) = self.layers.get_mut(layer) {
            return layer.advance(status, current);
        }
        self.layers
            .insert(layer.to_owned(), Layer::begin(status, current));
        true
    }
}

impl Layer {
    fn begin(status: &str, current: i64) -> Self {
        let phase = Phase::of(status);
        Self {
            phase,
            reached: BTreeMap::from([(phase, current)]),
            countdown: retry_seconds(status).unwrap_or(0),
            status: status.to_owned(),
        }
    }

    fn advance(&mut self, status: &str, current: i64) -> bool {
        self.phase = Phase::of(status);
        let new_words = self.status != status;
        status.clone_into(&mut self.status);

        let seconds = retry_seconds(status).unwrap_or(0);
        let new_attempt = seconds > self.countdown;
        self.countdown = seconds;

        let mut new_phase = false;
        let reached = self.reached.entry(self.phase).or_insert_with(|| {
            new_phase = true;
            current
        });
        let further = current > *reached;
        *reached = current.max(*reached);
        new_phase || further || new_attempt || (new_words && self.phase == Phase::Other)
    }
}

/// The seconds of "Retrying in 5 seconds".
fn retry_seconds(status: &str) -> Option<i64> {
    let (seconds, _) = status.strip_prefix("Retrying in ")?.split_once(' ')?;
    seconds.parse().ok()
}
