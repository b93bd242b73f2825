//! The Docker Engine as the daemon sees it: typed calls over one pooled connection set.
//!
//! The only folder that knows bollard and hyper's client. bollard gives the typed calls and their
//! vocabulary; it runs over [`transport`], which adds what it lacks: the negotiated API version in
//! every path, keep-alive connections, registry credentials in the alphabet that the Engine reads.
//! Lists, inspections and pulls are read by tolerant types of our own, and exec streams are hijacked
//! connections of our own, because bollard's are closed enumerations and cannot half-close.

mod archive;
mod attach;
mod calls;
mod connection;
mod containers;
mod error;
mod events;
mod exec;
mod hijack;
mod images;
mod networks;
mod raw;
mod stdcopy;
mod system;
mod transport;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bollard::Docker;
use translate::facts::EngineFacts;

pub use attach::AttachSpec;
pub use error::EngineError;
pub use events::EventStream;
pub use exec::{ExecSpec, Terminal};
pub use hijack::Hijacked;
pub use images::PullStream;
pub use stdcopy::{StdStream, Stdcopy};
use transport::Transport;

/// A Docker Engine on this node. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    transport: Arc<Transport>,
    docker: Docker,
    timeout: Duration,
    facts: Arc<system::Facts>,
}

impl Engine {
    /// The Engine behind the unix socket at `socket`; nothing is asked of it yet.
    ///
    /// `timeout` bounds every call that has no time of its own to wait for.
    pub fn new(socket: PathBuf, timeout: Duration) -> Result<Self, EngineError> {
        let transport = Arc::new(Transport::new(socket, timeout));
        let over = Arc::clone(&transport);
        let docker = Docker::connect_with_custom_transport(
            move |request| {
                let transport = Arc::clone(&over);
                async move { transport.serve_bollard(request).await }
            },
            Some("http://engine"),
            // bollard counts in whole seconds, and 0 fails at once.
            timeout.as_secs().max(1),
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|source| EngineError::from_bollard("set up the client", source))?;
        Ok(Self {
            transport,
            docker,
            timeout,
            facts: Arc::default(),
        })
    }

    /// The facts of the Engine that answers now; asked of it again only after it was away.
    pub async fn facts(&self) -> Result<Arc<EngineFacts>, EngineError> {
        system::facts(self).await
    }
}
