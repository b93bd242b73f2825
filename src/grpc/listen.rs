//! The sockets that CRI is served on.

mod accept;
mod connection;
mod serve;
mod socket;

use std::{
    fmt, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    str::FromStr,
};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
pub use serve::{Ending, serve};
use socket::SocketFile;
use tokio::net::UnixListener;

/// One place to serve, as an administrator writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket at an absolute path.
    Path(PathBuf),
    /// The sockets that systemd hands over, by a `.socket` unit.
    Activation,
}

/// An endpoint that nothing can be served on.
#[derive(Debug, thiserror::Error)]
#[error("endpoint `{endpoint}`: {reason}")]
pub struct EndpointError {
    endpoint: String,
    reason: &'static str,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `unix:///path`, `unix:/path`, `/path` or `fd://`.
    fn from_str(endpoint: &str) -> Result<Self, EndpointError> {
        let fault = |reason| {
            Err(EndpointError {
                endpoint: endpoint.to_owned(),
                reason,
            })
        };
        if let Some(which) = endpoint.strip_prefix("fd://") {
            return match which {
                "" | "*" => Ok(Self::Activation),
                _ => fault("sockets of systemd cannot be chosen: say fd://, it serves all of them"),
            };
        }
        let path = match endpoint.strip_prefix("unix:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None if endpoint.contains("://") => {
                return fault("only unix sockets are served: say unix:///path or fd://");
            }
            None => endpoint,
        };
        if !path.starts_with('/') {
            return fault("the socket's path must be absolute, as in unix:///run/x.sock");
        }
        if path.ends_with('/') || Path::new(path).file_name().is_none() {
            return fault("the path names a directory, not a socket");
        }
        if path.contains('\0') {
            return fault("the path contains a zero byte");
        }
        Ok(Self::Path(path.into()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix://{}", path.display()),
            Self::Activation => f.write_str("fd://"),
        }
    }
}

/// Why an endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Nothing to serve on.
    #[error("no endpoint is given to serve on")]
    NoEndpoint,
    /// The kernel has no room for the path.
    #[error("socket {}: the path is {length} bytes long, the limit is {limit}", path.display())]
    TooLong {
        /// The socket.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// What would fit.
        limit: usize,
    },
    /// Something else is in the way; it may be somebody's data, so it stays.
    #[error("socket {}: the path exists and is {found}; remove it or choose another endpoint", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Somebody answers there.
    #[error("socket {}: {}; {}, or choose another --container-runtime-endpoint", path.display(), who(*pid), remedy(*pid))]
    Served {
        /// The socket.
        path: PathBuf,
        /// Who it is, where the kernel tells.
        pid: Option<i32>,
    },
    /// Two endpoints are one.
    #[error("socket {}: given twice, also as {}", path.display(), other.display())]
    Repeated {
        /// The second of them.
        path: PathBuf,
        /// The first of them.
        other: PathBuf,
    },
    /// Another process that starts holds the directory's lock.
    #[error("socket {}: another process keeps its directory locked", path.display())]
    Locked {
        /// The socket.
        path: PathBuf,
    },
    /// The system refused a step.
    #[error("socket {}: cannot {step}: {source}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `fd://` without a socket unit.
    #[error("endpoint fd://: systemd passed no sockets; start the .socket unit or name a path")]
    NotActivated,
    /// `fd://` with a socket that does not fit.
    #[error("endpoint fd://: socket {index} from systemd (from 0): {source}")]
    Activation {
        /// Which one, in the order of the unit.
        index: usize,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// Who serves a socket, as the kernel tells.
fn who(pid: Option<i32>) -> String {
    let Some(pid) = pid else {
        return "another process serves it".into();
    };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim_end() {
        "" => format!("another process (pid {pid}) serves it"),
        name => format!("{name} (pid {pid}) serves it"),
    }
}

fn remedy(pid: Option<i32>) -> String {
    match pid {
        Some(1) => {
            "see whose it is by `systemctl list-sockets` and stop that unit, such as cri-docker.socket".into()
        }
        Some(pid) => format!("stop it, or the unit that `systemctl status {pid}` names"),
        None => "find it by `ss -xlp` and stop it".into(),
    }
}

/// A bound socket. The file goes before the listener, see [`SocketFile`].
#[derive(Debug)]
struct Bound {
    name: String,
    file: Option<SocketFile>,
    listener: UnixListener,
}

impl Bound {
    /// Where it is in the file system, if it is.
    fn path(&self) -> Option<PathBuf> {
        Some(self.listener.local_addr().ok()?.as_pathname()?.into())
    }
}

/// Sockets that are bound and listen. Dropped, they take the files they made with them.
#[derive(Debug)]
pub struct Listeners {
    bound: Vec<Bound>,
}

impl Listeners {
    /// Binds all of `endpoints`, or none.
    ///
    /// A missing directory is made. A socket file that nobody answers on is replaced. From their
    /// first moment the sockets have mode 0660. Sockets that systemd hands over are served whatever the
    /// endpoints are: nobody else will answer on them. An endpoint whose path is one of theirs is served by that.
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn bind(endpoints: &[Endpoint]) -> Result<Self, ListenError> {
        let mut bound = activated()?;
        let handed_over: Vec<_> = bound.iter().filter_map(Bound::path).collect();
        for endpoint in endpoints {
            match endpoint {
                Endpoint::Path(path) if handed_over.iter().any(|other| socket::same(path, other)) => {}
                Endpoint::Path(path) => {
                    if let Some(other) = bound.iter().flat_map(|one| &one.file).find(|file| file.is(path)) {
                        return Err(ListenError::Repeated {
                            path: path.clone(),
                            other: other.path().into(),
                        });
                    }
                    let (file, listener) = socket::bind(path).await?;
                    bound.push(Bound {
                        name: endpoint.to_string(),
                        file: Some(file),
                        listener,
                    });
                }
                Endpoint::Activation if bound.iter().all(|one| one.file.is_some()) => {
                    return Err(ListenError::NotActivated);
                }
                Endpoint::Activation => {}
            }
        }
        if bound.is_empty() {
            return Err(ListenError::NoEndpoint);
        }
        Ok(Self { bound })
    }

    /// What is served, for the log.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.bound.iter().map(|one| one.name.as_str())
    }
}

/// The sockets from systemd. It hands them over once: a second call finds none.
fn activated() -> Result<Vec<Bound>, ListenError> {
    let mut passed = ListenFd::from_env();
    (0..passed.len())
        .map(|index| take_activated(&mut passed, index))
        .collect()
}

fn take_activated(passed: &mut ListenFd, index: usize) -> Result<Bound, ListenError> {
    let fault = |source| ListenError::Activation { index, source };
    let listener = passed
        .take_unix_listener(index)
        .map_err(fault)?
        .ok_or(ListenError::NotActivated)?;
    // A unit with Accept=yes passes connections.
    if !socket_acceptconn(listener.as_fd()).map_err(|errno| fault(errno.into()))? {
        return Err(fault(io::Error::other(
            "it does not listen (the unit must not say Accept=yes)",
        )));
    }
    listener.set_nonblocking(true).map_err(fault)?;
    let listener = UnixListener::from_std(listener).map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    let name = match address.as_pathname() {
        Some(path) => format!("unix://{} (from systemd)", path.display()),
        None => format!("socket {index} (from systemd)"),
    };
    Ok(Bound {
        name,
        file: None,
        listener,
    })
}

#[cfg(test)]
mod tests;
