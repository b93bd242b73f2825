//! Who writes a container's CRI log: of all docksides on one Engine, exactly one.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt, path::Path};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};
use tracing::debug;

/// The right to write a container's CRI log, until it is dropped or the process ends.
///
/// It is a lock on the Engine's directory of the container: unlike the two logs in it and beside it, that is
/// never renamed, goes with the container, and is the same for whoever follows the container.
pub(super) struct Claim {
    /// `None` where the file system knows no locks.
    _directory: Option<File>,
}

/// What came of an attempt.
pub(super) enum Claimed {
    Mine(Claim),
    /// Another process has it.
    Taken,
    /// There is no such container any more.
    Gone,
}

impl Claim {
    /// Tries to get the right to write the log of the container whose directory is at `directory`.
    pub(super) fn try_get(directory: &Path) -> io::Result<Claimed> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let directory = match File::options().read(true).custom_flags(flags).open(directory) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claimed::Gone),
            Err(error) => return Err(error),
        };
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Claimed::Mine(Self {
                _directory: Some(directory),
            })),
            Err(Errno::WOULDBLOCK) => Ok(Claimed::Taken),
            Err(error) => {
                debug!("cannot lock the engine's directory of a container: {error}");
                Ok(Claimed::Mine(Self { _directory: None }))
            }
        }
    }
}
