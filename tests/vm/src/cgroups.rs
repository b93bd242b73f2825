//! What the kernel has been told of a container.

use std::path::{Path, PathBuf};

use crate::node::{pid, read};

/// The cgroup of a running container.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// That of the container's first process.
    pub(crate) fn of(container: &str) -> Self {
        let membership = read(format!("/proc/{}/cgroup", pid(container)));
        let path = membership.strip_prefix("0::/");
        let path = path.unwrap_or_else(|| panic!("no cgroup v2: {membership:?}"));
        Self(Path::new("/sys/fs/cgroup").join(path))
    }

    /// Its path below the mount point.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.0.strip_prefix("/sys/fs/cgroup").unwrap().display())
    }

    /// The values of some of its files.
    pub(crate) fn values<'a>(&self, files: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, String)> {
        files.into_iter().map(|file| (file, self.value(file))).collect()
    }

    /// The value of one of its files.
    pub(crate) fn value(&self, file: &str) -> String {
        read(self.0.join(file))
    }
}
