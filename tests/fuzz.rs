//! Hostile input for the stream protocols: each target runs its corpus, then mutations of it for a while.
//!
//!     DOCKSIDE_FUZZ_SECONDS=30 cargo test --test fuzz            (1 second each unless told)
//!     DOCKSIDE_FUZZ_SEED=7 DOCKSIDE_FUZZ_SECONDS=3600 cargo test --test fuzz spdy
//!
//! Needs neither an Engine nor a nightly compiler. The seed is fixed unless told, so a change is never refused
//! for another's fault. An input that fails is written to `target/fuzz`; once its cause is mended, it belongs
//! into `tests/fuzz/corpus/<target>`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "fuzz/driver.rs"]
mod driver;
#[path = "fuzz/spdy.rs"]
mod spdy;
#[path = "fuzz/websocket.rs"]
mod websocket;
