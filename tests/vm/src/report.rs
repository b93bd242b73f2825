//! Runs scenarios and says what came of them.

use std::{
    pin::Pin,
    process::Command,
    time::{Duration, Instant},
};

/// No test takes this long, however slow the emulation is.
const LIMIT: Duration = Duration::from_secs(600);

/// Nor does what is run on request only; measurements know how long they take.
const LONG: Duration = Duration::from_secs(4 * 3600);

/// A named test.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Only when it is named.
    pub(crate) on_request: bool,
    pub(crate) run: fn() -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The scenario that a function is.
#[macro_export]
macro_rules! scenario {
    ($function:path) => {
        $crate::scenario!($function, on_request: false)
    };
    ($function:path, on_request: $on_request:literal) => {
        $crate::report::Scenario {
            name: stringify!($function),
            on_request: $on_request,
            run: || Box::pin($function()),
        }
    };
}

/// Runs them in order, and returns how many failed. One that fails does not keep the next from running.
#[expect(clippy::print_stdout, reason = "the result of the tests")]
pub(crate) async fn run(scenarios: impl Iterator<Item = &Scenario>) -> usize {
    let mut failed = 0;
    for Scenario {
        name,
        on_request,
        run,
    } in scenarios
    {
        let (began, wall) = (Instant::now(), std::time::SystemTime::now());
        // A task, so that a panic ends it alone.
        let mut task = tokio::spawn(run());
        let limit = if *on_request { LONG } else { LIMIT };
        let outcome = tokio::time::timeout(limit, &mut task).await;
        let seconds = began.elapsed().as_secs_f32();
        match outcome {
            Ok(Ok(())) => println!("test {name} ... ok ({seconds:.1} s)"),
            other => {
                failed += 1;
                task.abort();
                let why = if other.is_err() { "not over" } else { "FAILED" };
                println!("test {name} ... {why} ({seconds:.1} s)");
                println!("---- the journal meanwhile ----\n{}----", journal(wall));
            }
        }
    }
    failed
}

/// The last of what the services wrote since a moment.
fn journal(since: std::time::SystemTime) -> String {
    let since = since.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let output = Command::new("journalctl")
        .args(["--no-pager", "--quiet", "--lines=120", "--output=short-precise"])
        .arg(format!("--since=@{since}"))
        .output();
    output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}
