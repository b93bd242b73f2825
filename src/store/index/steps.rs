//! What must have happened between two looks at a container.

use cri::ContainerEventType as Step;
use translate::{answer::ContainerInspect, status, time::nanoseconds};

/// The steps from `old` (`None`: it was not known) to `new`, in their order. A look is taken after each of
/// the Engine's events, but several may have passed by then.
pub(super) fn steps(old: Option<&ContainerInspect>, new: &ContainerInspect) -> Vec<Step> {
    let mut steps = Vec::new();
    if old.is_none() {
        steps.push(Step::ContainerCreatedEvent);
    }
    let was_running = old.is_some_and(|old| old.state.running);
    let was_over = old.is_some_and(is_over);
    // A start that came after the last look: the time of it is another one.
    let before = old.map_or("", |old| old.state.started_at.as_str());
    let started = nanoseconds(&new.state.started_at) != 0 && new.state.started_at != before;
    if was_running && (started || !new.state.running) {
        steps.push(Step::ContainerStoppedEvent);
    }
    if started {
        steps.push(Step::ContainerStartedEvent);
    }
    // One that could not be started has not run, and is over all the same.
    if is_over(new) && (started || !was_running && !was_over) {
        steps.push(Step::ContainerStoppedEvent);
    }
    steps
}

fn is_over(inspect: &ContainerInspect) -> bool {
    status::state(inspect) == cri::ContainerState::ContainerExited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(status: &str, started_at: &str) -> ContainerInspect {
        let mut inspect = ContainerInspect::default();
        inspect.state.status = status.into();
        inspect.state.running = status == "running";
        inspect.state.started_at = started_at.into();
        inspect
    }

    #[test]
    fn what_passed_between_two_looks_is_told_in_order() {
        const NEVER: &str = "0001-01-01T00:00:00Z";
        const FIRST: &str = "2026-01-01T00:00:00Z";
        const AGAIN: &str = "2026-01-02T00:00:00Z";
        type Look = (&'static str, &'static str);
        use Step::{
            ContainerCreatedEvent as Created, ContainerStartedEvent as Started,
            ContainerStoppedEvent as Stopped,
        };
        let created = ("created", NEVER);
        let cases: &[(Option<Look>, Look, &[Step])] = &[
            (None, created, &[Created]),
            (None, ("running", FIRST), &[Created, Started]),
            (None, ("exited", FIRST), &[Created, Started, Stopped]),
            (Some(created), created, &[]),
            (Some(created), ("running", FIRST), &[Started]),
            (Some(created), ("exited", FIRST), &[Started, Stopped]),
            (Some(("running", FIRST)), ("running", FIRST), &[]),
            (Some(("running", FIRST)), ("exited", FIRST), &[Stopped]),
            (Some(("running", FIRST)), ("running", AGAIN), &[Stopped, Started]),
            (
                Some(("running", FIRST)),
                ("exited", AGAIN),
                &[Stopped, Started, Stopped],
            ),
            (Some(("exited", FIRST)), ("exited", FIRST), &[]),
            (Some(("exited", FIRST)), ("running", AGAIN), &[Started]),
            (Some(("exited", FIRST)), ("exited", AGAIN), &[Started, Stopped]),
        ];
        for (old, new, expected) in cases {
            let before = old.map(|(status, at)| look(status, at));
            let told = steps(before.as_ref(), &look(new.0, new.1));
            assert_eq!(told, *expected, "{old:?} {new:?}");
        }
        let mut failed = look("created", NEVER);
        failed.state.exit_code = 127;
        assert_eq!(steps(Some(&look("created", NEVER)), &failed), [Stopped]);
        assert_eq!(steps(Some(&failed), &failed), []);
    }
}
