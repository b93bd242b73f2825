//! What the kernel has been told of a container.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::node::{PATIENCE, pid, read};

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

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

    /// The one above: a pod's, of one of its containers.
    pub(crate) fn parent(&self) -> Self {
        Self(self.0.parent().unwrap().into())
    }

    /// Its path below the mount point.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.0.strip_prefix("/sys/fs/cgroup").unwrap().display())
    }

    /// The value of one of its files.
    pub(crate) fn value(&self, file: &str) -> String {
        read(self.0.join(file))
    }

    /// The number in one of its files.
    pub(crate) fn number(&self, file: &str) -> u64 {
        number(&self.value(file))
    }

    /// The number behind a name in one of its files.
    pub(crate) fn field(&self, file: &str, name: &str) -> u64 {
        let text = self.value(file);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        number(line.unwrap_or_else(|| panic!("no {name} in {file}: {text}")))
    }

    /// Waits until its files have these values, which come back by themselves after somebody has changed them.
    pub(crate) async fn comes_to(&self, expected: &[(&str, &str)], when: &str) {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let differs: Vec<_> = expected
                .iter()
                .map(|(file, value)| (*file, *value, self.value(file)))
                .filter(|(_, expected, value)| value != expected)
                .collect();
            if differs.is_empty() {
                return;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "{when}, expected and found: {differs:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
