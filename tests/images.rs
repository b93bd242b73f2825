//! Images on a real Engine and real registries.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod images {
    mod fs;
    mod names;
    mod pause;
    mod pull;
    mod registry;
    mod remove;
    mod stall;
    mod status;
}
