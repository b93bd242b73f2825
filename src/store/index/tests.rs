use std::collections::BTreeMap;

use futures_util::FutureExt;
use translate::{answer::ContainerInspect, labels};

use super::*;
use crate::store::{Container, Sandbox};

fn sandbox(id: &str, status: &str) -> Seen {
    let sandbox = Sandbox {
        id: id.into(),
        record: labels::SandboxRecord::default(),
        host_network: false,
    };
    Seen::Sandbox(SandboxView::new(Arc::new(sandbox), inspect(id, status)))
}

fn container(id: &str, status: &str) -> Seen {
    let container = Container {
        id: id.into(),
        sandbox_id: "5a".into(),
        record: labels::ContainerRecord::default(),
    };
    Seen::Container(ContainerView::new(Arc::new(container), inspect(id, status)))
}

fn inspect(id: &str, status: &str) -> ContainerInspect {
    let mut inspect = ContainerInspect {
        id: id.into(),
        ..Default::default()
    };
    inspect.config.labels = BTreeMap::from([("much".into(), "text".into())]);
    inspect.state.status = status.into();
    inspect.state.running = status == "running";
    if status != "created" {
        inspect.state.started_at = "2026-01-01T00:00:00Z".into();
    }
    inspect
}

fn object(id: &str) -> Key {
    Key::Object(id.into())
}

/// An index that has met an empty node.
fn met() -> Index {
    let index = Index::new();
    index.listen();
    index.trust();
    index
}

fn look(index: &Index, id: &str) -> Ticket {
    index.mark(object(id));
    assert!(index.due().contains(&object(id)));
    index.begin(object(id)).expect("it is marked")
}

fn states(index: &Index) -> Vec<(String, cri::ContainerState)> {
    let wanted = cri::ContainerFilter::default();
    index.containers(&wanted, |view| (view.container.id.clone(), view.state()))
}

#[tokio::test(start_paused = true)]
async fn readers_wait_for_what_was_marked_before_them_and_for_nothing_else() {
    let index = met();
    assert_eq!(index.settled(Scope::All, false).await, Trust::Whole);
    let ticket = look(&index, "c1");
    let reader = index.settled(Scope::All, false);
    tokio::pin!(reader);
    assert!(reader.as_mut().now_or_never().is_none());
    assert!(index.is_urgent());
    // Others are not kept.
    assert_eq!(index.settled(Scope::One("c2"), false).await, Trust::Whole);
    assert_eq!(index.settled(Scope::Images, false).await, Trust::Whole);
    index.mark(object("c2"));
    index.apply(ticket, container("c1", "running"));
    assert_eq!(reader.await, Trust::Whole, "c2 was marked later");
    assert!(!index.is_urgent());
    assert_eq!(
        states(&index),
        [("c1".into(), cri::ContainerState::ContainerRunning)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_renewed_does_not_let_go_who_waits_for_it() {
    let index = met();
    let ticket = look(&index, "c1");
    let reader = index.settled(Scope::All, false);
    tokio::pin!(reader);
    assert!(reader.as_mut().now_or_never().is_none());
    // An event of the same change comes late, and another object makes progress.
    index.mark(object("c1"));
    let other = look(&index, "c2");
    index.apply(other, container("c2", "running"));
    assert!(
        reader.as_mut().now_or_never().is_none(),
        "nobody has looked at c1"
    );
    index.apply(ticket, container("c1", "running"));
    assert_eq!(
        reader.await,
        Trust::Whole,
        "the look began before the reader came, and after the change"
    );
    assert_eq!(states(&index).len(), 2);
}

#[tokio::test]
async fn what_cannot_be_inspected_is_in_doubt() {
    let index = met();
    let ticket = look(&index, "c1");
    index.fail(&ticket);
    assert_eq!(index.settled(Scope::All, false).await, Trust::Partial);
    assert_eq!(index.settled(Scope::One("c"), false).await, Trust::Partial);
    assert_eq!(index.settled(Scope::One("d"), false).await, Trust::Whole);
    assert!(
        index.due().is_empty() && index.next_retry().is_some(),
        "it is tried again later"
    );
    // An event says that something has changed: it may be better now.
    index.mark(object("c1"));
    assert_eq!(index.due(), [object("c1")]);
    index.distrust();
    assert_eq!(
        index.settled(Scope::Images, false).await,
        Trust::None,
        "no events, no trust"
    );
}

#[test]
fn a_mark_that_is_renewed_during_a_look_stays() {
    let index = met();
    let ticket = look(&index, "c1");
    index.mark(object("c1"));
    index.apply(ticket, container("c1", "created"));
    assert_eq!(states(&index).len(), 1, "what was seen is newer than nothing");
    assert_eq!(index.due(), [object("c1")], "and is looked at again");
}

#[test]
fn what_is_gone_stays_gone() {
    let index = met();
    let ticket = look(&index, "c1");
    index.bury("c1");
    index.apply(ticket, container("c1", "running"));
    index.mark(object("c1"));
    assert!(states(&index).is_empty() && index.due().is_empty());
    assert!(matches!(index.container("c1"), Found::Gone));
}

#[test]
fn a_look_from_before_the_events_broke_off_counts_for_nothing() {
    let index = met();
    let ticket = look(&index, "c1");
    index.distrust();
    assert!(index.due().is_empty(), "nobody is asked meanwhile");
    index.listen();
    index.apply(ticket, container("c1", "running"));
    assert!(states(&index).is_empty());
    assert_eq!(index.due(), [object("c1")]);
}

#[test]
fn what_is_being_changed_is_left_alone_until_the_end_of_the_call() {
    let index = met();
    index.hold("c1");
    index.mark(object("c1"));
    assert!(index.due().is_empty());
    index.release("c1");
    assert_eq!(index.due(), [object("c1")]);
}

#[tokio::test]
async fn nobody_waits_for_what_a_call_is_changing() {
    let index = met();
    let ticket = look(&index, "c1");
    let reader = index.settled(Scope::All, false);
    tokio::pin!(reader);
    assert!(reader.as_mut().now_or_never().is_none());
    index.hold("c1");
    assert_eq!(reader.await, Trust::Partial, "who waited asks the Engine");
    assert_eq!(index.settled(Scope::One("c1"), false).await, Trust::Partial);
    index.release("c1");
    index.apply(ticket, container("c1", "created"));
    let ticket = index.begin(object("c1")).expect("it was changed since that look");
    index.apply(ticket, container("c1", "running"));
    assert_eq!(index.settled(Scope::All, false).await, Trust::Whole);
    // Who takes what was seen last waits for all others.
    index.hold("c1");
    index.mark(object("c1"));
    let ticket = look(&index, "c2");
    assert_eq!(index.settled(Scope::All, false).await, Trust::Partial);
    let patient = index.settled(Scope::All, true);
    tokio::pin!(patient);
    assert!(patient.as_mut().now_or_never().is_none());
    index.apply(ticket, container("c2", "running"));
    assert_eq!(patient.await, Trust::Partial);
    index.release("c1");
    let ticket = look(&index, "c1");
    index.apply(ticket, container("c1", "running"));
    // What was known before the call holds until its end.
    index.hold("c1");
    assert_eq!(index.settled(Scope::All, false).await, Trust::Whole);
}

#[tokio::test]
async fn a_pod_is_told_while_others_are_looked_at() {
    let index = met();
    for seen in [sandbox("5a", "running"), sandbox("5b", "running")] {
        let id = match &seen {
            Seen::Sandbox(view) => view.sandbox.id.clone(),
            _ => unreachable!(),
        };
        let ticket = look(&index, &id);
        index.apply(ticket, seen);
    }
    let told = |id| index.settled(Scope::Pod(id), false).now_or_never();
    let ticket = look(&index, "c1");
    assert_eq!(told("5b"), None, "it may be a container of this pod");
    index.apply(ticket, container("c1", "running"));
    index.mark(object("c1"));
    assert_eq!((told("5a"), told("5b")), (None, Some(Trust::Whole)));
    index.mark(object("5b"));
    assert_eq!(told("5"), None);
}

#[test]
fn ids_may_be_shortened_as_long_as_they_are_clear() {
    let index = met();
    for id in ["c1aa", "c1ab", "c2"] {
        let ticket = look(&index, id);
        index.apply(ticket, container(id, "running"));
    }
    let known = |id| matches!(index.container(id), Found::Known(_));
    assert!(known("c2") && known("c1aa") && !known("c1a") && !known("c3"));
}

#[tokio::test]
async fn changes_are_told_in_order_and_slow_listeners_are_dropped() {
    let index = met();
    let mut slow = index.subscribe();
    let mut fast = index.subscribe();
    let ticket = look(&index, "5a");
    index.apply(ticket, sandbox("5a", "running"));
    let mut last = 0;
    for _ in 0..BACKLOG {
        for status in ["exited", "running"] {
            let ticket = look(&index, "c1");
            let mut seen = container("c1", status);
            if let Seen::Container(view) = &mut seen {
                last += 1;
                view.inspect.state.started_at = format!("2026-01-01T00:00:00.{last:09}Z");
            }
            index.apply(ticket, seen);
        }
        let mut at = 0;
        while let Ok(change) = fast.try_recv() {
            assert!(change.at > at);
            at = change.at;
            assert!(change.sandbox.is_some());
        }
    }
    assert!(matches!(
        slow.recv().await,
        Err(broadcast::error::RecvError::Lagged(_))
    ));
}
