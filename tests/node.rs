//! dockside on its node: taking over from cri-dockerd, systemd, configuration, doctor.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod node {
    mod adopt;
    mod doctor;
    mod reload;
    mod start;
}
