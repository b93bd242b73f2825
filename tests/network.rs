//! Pods' networks, by CNI plugins and by the embedded bridge, on a real Engine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod network {
    mod broken;
    mod embedded;
    mod killed;
    mod lost;
    mod net;
    mod pods;
    mod ports;
    mod traces;
    mod watch;
}
