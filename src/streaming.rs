//! exec, attach and port-forward: the streams that `kubectl` and `crictl` open.
//!
//! Protocols (SPDY/3.1, WebSocket) end in [`session`]'s types; what feeds these knows no protocol.

pub mod session;
