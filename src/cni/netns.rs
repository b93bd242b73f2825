//! Pins network namespaces to files, as `ip netns` does.
//!
//! A namespace lives as long as a process in it or a mount of it. Plugins want to be given the
//! namespace when a pod is taken down; with a pin it is still there after its processes have died,
//! and its path never means another process's namespace.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FsWord, PROC_SUPER_MAGIC, statfs},
    io::Errno,
    mount::{UnmountFlags, mount_bind, unmount},
};

/// The file system of namespaces.
const NSFS_MAGIC: FsWord = 0x6e73_6673;

/// Which namespace a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceId {
    device: u64,
    inode: u64,
}

impl NamespaceId {
    fn of(file: &fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

/// What failed, on which pin or process.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {cause}", path.display())]
pub struct NetnsError {
    what: &'static str,
    path: PathBuf,
    cause: io::Error,
}

impl NetnsError {
    /// What the system answered.
    pub const fn cause(&self) -> &io::Error {
        &self.cause
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NetnsError {
    move |cause| NetnsError {
        what,
        path: path.to_owned(),
        cause,
    }
}

/// A directory of pins. Its methods block for the time of a few system calls.
#[derive(Debug, Clone)]
pub struct Pins {
    dir: PathBuf,
}

impl Default for Pins {
    fn default() -> Self {
        Self::new("/run/netns")
    }
}

impl Pins {
    /// Pins in `dir`, which is created when it is first needed.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The path of a pin.
    ///
    /// # Errors
    ///
    /// A name that is not a plain file name.
    pub fn path(&self, name: &str) -> Result<PathBuf, NetnsError> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            let cause = io::Error::new(ErrorKind::InvalidInput, "not a file name");
            return Err(failed("pin of a network namespace", Path::new(name))(cause));
        }
        Ok(self.dir.join(name))
    }

    /// Pins the network namespace of a process and returns the pin's path. A pin of this namespace
    /// that is there already is kept; one of another namespace is an error.
    ///
    /// # Errors
    ///
    /// The process is gone, its namespace is this process's own (plugins would rearrange the node's
    /// network), or the system refuses.
    pub fn pin(&self, pid: u32, name: &str) -> Result<PathBuf, NetnsError> {
        let source = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let namespace = File::open(&source).map_err(failed("open", &source))?;
        let own = namespace_id(Path::new("/proc/self/ns/net"))?;
        let wanted = NamespaceId::of(&namespace.metadata().map_err(failed("stat", &source))?);
        if wanted == own {
            let cause = io::Error::other("is the network namespace of this node");
            return Err(failed("pin", &source)(cause));
        }
        let path = self.path(name)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.dir)
            .map_err(failed("create", &self.dir))?;
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)
        {
            Ok(_) => {}
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
                if is_namespace(&path).is_ok() {
                    return verify(&path, wanted).map(|()| path);
                }
            }
            Err(cause) => return Err(failed("create", &path)(cause)),
        }
        // By the open file: the process may end, and its number be given to another, meanwhile.
        let mounted = mount_bind(format!("/proc/self/fd/{}", namespace.as_raw_fd()), &path);
        if let Err(cause) = mounted {
            let _ = fs::remove_file(&path);
            return Err(failed("mount a network namespace on", &path)(cause.into()));
        }
        verify(&path, wanted)?;
        Ok(path)
    }

    /// Removes a pin. Without one there is nothing to do.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn unpin(&self, name: &str) -> Result<(), NetnsError> {
        let path = self.path(name)?;
        loop {
            match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                // There may be several on top of each other.
                Ok(()) => {}
                // Not mounted, or not there.
                Err(Errno::INVAL | Errno::NOENT) => break,
                Err(cause) => return Err(failed("unmount", &path)(cause.into())),
            }
        }
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(failed("remove", &path)(cause)),
            _ => Ok(()),
        }
    }

    /// The names of all pins, those of others too, sorted. Files that pin nothing (left from before
    /// a crash, say) are not among them.
    ///
    /// # Errors
    ///
    /// The directory cannot be read; that it does not exist is no error.
    pub fn list(&self) -> Result<Vec<String>, NetnsError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("read", &self.dir))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.dir))?;
            if is_namespace(&entry.path()).is_ok() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// The network namespaces in which processes live.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn inhabited() -> Result<HashSet<NamespaceId>, NetnsError> {
    let proc = Path::new("/proc");
    let mut inhabited = HashSet::new();
    for entry in fs::read_dir(proc).map_err(failed("read", proc))? {
        let process = entry.map_err(failed("read", proc))?.path();
        // Not all that is there is a process, and one may just have ended.
        if let Ok(namespace) = fs::metadata(process.join("ns/net")) {
            inhabited.insert(NamespaceId::of(&namespace));
        }
    }
    Ok(inhabited)
}

/// Which namespace `path` is.
///
/// # Errors
///
/// It is not there, or no namespace.
pub fn namespace_id(path: &Path) -> Result<NamespaceId, NetnsError> {
    is_namespace(path).map_err(failed("network namespace", path))?;
    let file = fs::metadata(path).map_err(failed("stat", path))?;
    Ok(NamespaceId::of(&file))
}

/// Checks that `path` is the namespace `expected`.
///
/// # Errors
///
/// It is not there, no namespace, or another one.
pub fn verify(path: &Path, expected: NamespaceId) -> Result<(), NetnsError> {
    let found = namespace_id(path)?;
    if found == expected {
        return Ok(());
    }
    let cause = io::Error::other(format!("is namespace {}, not {}", found.inode, expected.inode));
    Err(failed("network namespace", path)(cause))
}

/// Checks that `path` is a namespace: after a reboot, or a crash between the two steps of pinning,
/// there may be an empty file.
///
/// # Errors
///
/// It is not there, or no namespace.
pub fn is_namespace(path: &Path) -> io::Result<()> {
    match statfs(path)?.f_type {
        // Namespaces are files of /proc before Linux 3.19.
        NSFS_MAGIC | PROC_SUPER_MAGIC => Ok(()),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, "is not a namespace")),
    }
}
