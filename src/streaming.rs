//! exec, attach and port-forward: the streams that `kubectl` and `crictl` open.
//!
//! A CRI call answers with a URL; whoever connects there gets the streams. Protocols (SPDY/3.1, WebSocket)
//! end in [`session`]'s types; what feeds these knows no protocol, and nothing here knows what feeds them.

mod held;
mod idle;
pub mod protocol;
pub(crate) mod queues;
pub(crate) mod resize;
pub mod server;
pub mod session;
pub mod spdy;
#[cfg(test)]
mod testing;
pub mod tls;
mod token;
mod upgrade;
pub mod websocket;

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use session::{Forward, Remote, Streams};
pub use token::TokenError;
use token::Tokens;

/// What is done with a client's streams.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a client that connects will get.
pub enum Session {
    /// A command's streams.
    Exec(Command),
    /// A container's own streams.
    Attach(Command),
    /// Connections to ports of a pod.
    PortForward(Ports),
}

/// The streams of a process.
pub struct Command {
    streams: Streams,
    run: Box<dyn FnOnce(Remote) -> Work + Send>,
}

impl Command {
    /// `run` is called once the client's `streams` are there. It ends when the client goes.
    pub fn new<W: Future<Output = ()> + Send + 'static>(
        streams: Streams,
        run: impl FnOnce(Remote) -> W + Send + 'static,
    ) -> Self {
        Self {
            streams,
            run: Box::new(move |remote| Box::pin(run(remote))),
        }
    }
}

/// Connections to ports of a pod.
pub struct Ports {
    announced: Vec<u16>,
    connect: Box<dyn FnMut(Forward) -> Work + Send>,
}

impl Ports {
    /// `connect` is called for each connection. `announced` are the ports of clients that name none.
    pub fn new<W: Future<Output = ()> + Send + 'static>(
        announced: Vec<u16>,
        mut connect: impl FnMut(Forward) -> W + Send + 'static,
    ) -> Self {
        Self {
            announced,
            connect: Box::new(move |forward| Box::pin(connect(forward))),
        }
    }
}

impl Session {
    /// The first part of its URL's path.
    fn verb(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Attach(_) => "attach",
            Self::PortForward(_) => "portforward",
        }
    }
}

/// Gives out URLs for sessions.
pub struct Streaming {
    base: String,
    sessions: Mutex<Tokens<Session>>,
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Streaming {
    /// URLs lead to `address` by `scheme`.
    fn new(scheme: &str, address: SocketAddr) -> Self {
        Self {
            base: format!("{scheme}://{address}"),
            sessions: Mutex::default(),
        }
    }

    /// A URL at which `session` can be had, once and within a minute.
    ///
    /// It is absolute: from one without a scheme the kubelet would make one with TLS.
    pub fn url(&self, session: Session) -> Result<String, TokenError> {
        let verb = session.verb();
        let token = self.sessions().issue(session, Instant::now())?;
        Ok(format!("{}/{verb}/{token}", self.base))
    }

    /// The session of a URL's path, once.
    fn claim(&self, path: &str) -> Option<Session> {
        let (verb, token) = path.strip_prefix('/')?.split_once('/')?;
        let session = self.sessions().claim(token, Instant::now())?;
        (session.verb() == verb).then_some(session)
    }

    fn sessions(&self) -> MutexGuard<'_, Tokens<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
