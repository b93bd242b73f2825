//! The Engine, callers and dockside itself fail at bad moments.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "faults/ready.rs"]
mod ready;
#[path = "network/traces.rs"]
mod traces;

mod faults {
    mod answers;
    mod away;
    mod callers;
    mod ending;
    mod input;
    mod raw;
    mod removals;
    mod twice;
}
