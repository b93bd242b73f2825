//! The Docker Engine as the daemon sees it: typed calls over one pooled connection set.
//!
//! The only folder that knows bollard and hyper's client. bollard gives the typed calls and their
//! vocabulary; it runs over [`transport`], which adds what it lacks: the negotiated API version in
//! every path, keep-alive connections.
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
            // None: its own ends with the head of an answer. Each call has ours around it.
            u64::MAX,
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|error| transport.by_bollard("set up the client", error))?;
        Ok(Self {
            transport,
            docker,
            timeout,
            facts: Arc::default(),
        })
    }

    /// A call by bollard, which may take `after`.
    async fn ask<T>(
        &self,
        action: &str,
        after: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        let call = async {
            call.await
                .map_err(|error| self.transport.by_bollard(action, error))
        };
        raw::bounded(action, after, call).await
    }

    /// The facts of the Engine that answers now; asked of it again only after it was away.
    pub async fn facts(&self) -> Result<Arc<EngineFacts>, EngineError> {
        system::facts(self).await
    }
}
