//! One socket file: made, and removed, such that nobody else's is ever taken away.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, ErrorKind},
    os::{
        fd::AsFd,
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream},
    time::sleep,
};

use super::ListenError;

/// The owner and the group may connect: whoever can speak CRI is root on the node.
const MODE: u32 = 0o660;
/// The kernel's `sun_path` holds 108 bytes with the closing zero; one more is for the temporary name.
const LIMIT: usize = 106;
const BACKLOG: u32 = 1024;
/// How often, 50 ms apart, a locked directory is tried.
const LOCK_TRIES: u32 = 40;

/// A socket file that we made. Dropped, it is removed if it is still ours.
///
/// It must be dropped before its listener: while that is open the kernel keeps the inode, so that its number
/// cannot be given to the socket of a successor.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `path` leads to this socket, by whatever name.
    pub(super) fn is(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| identity(&found) == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is(&self.path) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// Whether two paths lead to one file.
pub(super) fn same(one: &Path, other: &Path) -> bool {
    let look = |path: &Path| fs::metadata(path).map(|found| identity(&found)).ok();
    look(one).is_some_and(|one| look(other) == Some(one))
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Makes a listening socket at `path`.
///
/// It is made under a temporary name beside it and renamed once it listens with the right mode. So whoever sees the
/// path finds a socket that answers, and a stale one is replaced without a moment of no socket.
pub(super) async fn bind(path: &Path) -> Result<(SocketFile, UnixListener), ListenError> {
    let length = path.as_os_str().as_bytes().len();
    if length > LIMIT {
        return Err(ListenError::TooLong {
            path: path.into(),
            length,
            limit: LIMIT,
        });
    }
    let fault = |step| {
        move |source| ListenError::Io {
            step,
            path: path.into(),
            source,
        }
    };
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(fault("make its directory"))?;
    let _lock = lock(path, directory).await?;
    make_sure_it_is_free(path).await?;

    let mut temporary = path.as_os_str().to_owned();
    temporary.push("~");
    let temporary = PathBuf::from(temporary);
    remove_leftover(&temporary).map_err(fault("remove what a crash left beside it"))?;
    let socket = UnixSocket::new_stream().map_err(fault("create it"))?;
    // The file inherits the mode of the socket, less the umask, which may take away but never adds.
    fchmod(socket.as_fd(), Mode::from_raw_mode(MODE)).map_err(|errno| fault("set its mode")(errno.into()))?;
    socket.bind(&temporary).map_err(fault("bind it"))?;
    let finish = || {
        fs::set_permissions(&temporary, fs::Permissions::from_mode(MODE)).map_err(fault("set its mode"))?;
        let listener = socket.listen(BACKLOG).map_err(fault("listen on it"))?;
        let made = fs::symlink_metadata(&temporary).map_err(fault("look at it"))?;
        fs::rename(&temporary, path).map_err(fault("move it to its name"))?;
        Ok((
            SocketFile {
                path: path.into(),
                identity: identity(&made),
            },
            listener,
        ))
    };
    finish().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Keeps two processes that start at once from both finding the socket stale.
async fn lock(path: &Path, directory: &Path) -> Result<File, ListenError> {
    let fault = |source| ListenError::Io {
        step: "lock its directory",
        path: path.into(),
        source,
    };
    let opened = File::open(directory).map_err(fault)?;
    for _ in 0..LOCK_TRIES {
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(opened),
            Err(rustix::io::Errno::WOULDBLOCK) => sleep(Duration::from_millis(50)).await,
            Err(errno) => return Err(fault(errno.into())),
        }
    }
    Err(ListenError::Locked { path: path.into() })
}

/// Nothing is at `path`, or a socket on which nobody listens.
async fn make_sure_it_is_free(path: &Path) -> Result<(), ListenError> {
    let fault = |step| {
        move |source| ListenError::Io {
            step,
            path: path.into(),
            source,
        }
    };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault("look at it")(error)),
    };
    if !found.is_socket() {
        let found = match () {
            () if found.is_dir() => "a directory",
            () if found.is_symlink() => "a symbolic link",
            () if found.is_file() => "a file",
            () => "not a socket",
        };
        return Err(ListenError::NotASocket {
            path: path.into(),
            found,
        });
    }
    match UnixStream::connect(path).await {
        Ok(peer) => {
            let pid = peer.peer_cred().ok().and_then(|peer| peer.pid());
            Err(ListenError::Served {
                path: path.into(),
                pid,
            })
        }
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(()),
            // Its backlog is full: it hangs, but it lives.
            ErrorKind::WouldBlock => Err(ListenError::Served {
                path: path.into(),
                pid: None,
            }),
            // EPROTOTYPE, from a datagram socket, among others.
            _ => Err(fault("find out whether somebody serves it")(error)),
        },
    }
}

/// Removes a socket of an earlier process that was killed between bind and rename.
fn remove_leftover(temporary: &Path) -> io::Result<()> {
    match fs::symlink_metadata(temporary) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(temporary),
        // Anything else stays, and bind reports it.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
