//! A command that runs beside a container's own process, and how its start and its end are noticed.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    engine::Engine,
    error::{Error, Result},
};

/// When a command is asked about whose output has not ended.
const FIRST_QUESTION: Duration = Duration::from_secs(1);

/// The most time between two questions.
const LAST_QUESTION: Duration = Duration::from_secs(10);

/// The time before it is asked a second time whether a command runs.
const START_PAUSE: Duration = Duration::from_millis(5);

/// The time before it is asked a second time what a command's exit code is.
const END_PAUSE: Duration = Duration::from_millis(2);

/// How long after its start the other side of a command's input may take to be opened.
const OPENING: Duration = Duration::from_millis(50);

/// A command at the Engine.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) engine: &'a Engine,
    pub(super) exec: &'a str,
}

impl Watched<'_> {
    /// Waits until the command runs.
    ///
    /// The Engine hands input on through a FIFO. One that is closed before the other side has opened it, and
    /// nothing was written to it, never ends for the command: it would wait for input for ever.
    pub(super) async fn started(self) {
        let mut pause = START_PAUSE;
        // Of a command that is not known any more nothing is to be waited for.
        while let Ok(state) = self.engine.inspect_exec(self.exec).await
            && state.pid == 0
            && state.exit_code.is_none()
        {
            sleep(pause).await;
            pause = (pause * 2).min(FIRST_QUESTION);
        }
        sleep(OPENING).await;
    }

    /// Whether the command has ended, whatever holds its output open.
    pub(super) async fn has_ended(self) -> Result<bool> {
        Ok(!self.engine.inspect_exec(self.exec).await?.running)
    }

    /// Its exit code. The Engine may notice the end a moment after the output's end.
    pub(super) async fn exit_code(self) -> Result<i32> {
        let mut pause = END_PAUSE;
        loop {
            let state = self.engine.inspect_exec(self.exec).await?;
            if !state.running {
                return state.exit_code.ok_or_else(|| {
                    Error::Internal(
                        "the docker engine reports no exit code for a command that has ended".into(),
                    )
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_QUESTION);
        }
    }
}

/// The pauses between questions whether a command has ended: a child that it left behind may hold its output open.
pub(super) struct Questions(Duration);

impl Default for Questions {
    fn default() -> Self {
        Self(FIRST_QUESTION)
    }
}

impl Questions {
    /// The time until the next one.
    pub(super) const fn pause(&self) -> Duration {
        self.0
    }

    /// One was asked.
    pub(super) fn asked(&mut self) {
        self.0 = (self.0 * 2).min(LAST_QUESTION);
    }
}
