//! What is remembered is what the Engine has, whatever happens.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod store {
    mod by_hand;
    mod events;
    mod random;
    mod stuck;
    mod view;
}
