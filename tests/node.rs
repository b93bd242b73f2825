//! dockside on its node: taking over from cri-dockerd, systemd, configuration, doctor.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod node {
    /// One at a time: every daemon takes over what cri-dockerd has made, also what a test of another one has.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    mod adopt;
    mod doctor;
    mod reload;
    mod start;
}
