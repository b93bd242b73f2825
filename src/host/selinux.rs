//! SELinux labels of files.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{XattrFlags, lgetxattr, lsetxattr},
    io::Errno,
};
use translate::Invalid;

use crate::error::{Error, Result};

/// The extended attribute that is a file's label.
const LABEL: &str = "security.selinux";

/// Where the kernel says of a label that is written there whether it is one.
const CHECK: &str = "/sys/fs/selinux/context";

/// What the node itself is made of: with a pod's label its own services could not use it any more. What is below these is
/// not meant.
const NEVER: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// Refuses the label of a process that the kernel's policy does not have. Where that cannot be asked, the start has to show it.
pub async fn check(label: &str) -> Result<()> {
    if label.is_empty() {
        return Ok(());
    }
    match tokio::fs::write(CHECK, label).await {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let why = format!("the policy of this node has no label {label:?}");
            Err(Invalid::new("config.linux.security_context.selinux_options", why).into())
        }
        _ => Ok(()),
    }
}

/// Gives what is at `path`, and all below it, the label `label`; a link at `path` itself is followed. File systems that know
/// no labels of single files are left alone.
pub async fn relabel(path: &str, label: &str) -> Result<()> {
    let (from, label) = (path.to_owned(), label.to_owned());
    let done = tokio::task::spawn_blocking(move || {
        let from = fs::canonicalize(from)?;
        // Some of them are links to others on most nodes, as /bin is to /usr/bin.
        let is =
            |never: &&str| from == Path::new(never) || fs::canonicalize(never).is_ok_and(|it| it == from);
        if NEVER.iter().any(is) {
            let why = "is a part of the node itself, whose label is not changed";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        walk(from, label.as_bytes())
    });
    done.await
        .map_err(io::Error::other)
        .flatten()
        .map_err(Error::host(format!(
            "give {path}, which is to be mounted, its SELinux label"
        )))
}

fn walk(from: PathBuf, label: &[u8]) -> io::Result<()> {
    let mut waiting = vec![from];
    while let Some(path) = waiting.pop() {
        match set(&path, label) {
            // Removed meanwhile.
            Err(Errno::NOENT) => continue,
            Err(Errno::NOTSUP) => {}
            other => other?,
        }
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir());
        if is_directory {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        }
    }
    Ok(())
}

fn set(path: &Path, label: &[u8]) -> std::result::Result<(), Errno> {
    let mut has = [0; 512];
    // The kernel ends its labels by a zero byte.
    if let Ok(length) = lgetxattr(path, OsStr::new(LABEL), &mut has[..])
        && has
            .get(..length)
            .is_some_and(|has| has.strip_suffix(b"\0").unwrap_or(has) == label)
    {
        return Ok(());
    }
    lsetxattr(path, OsStr::new(LABEL), label, XattrFlags::empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const POD: &str = "system_u:object_r:container_file_t:s0:c1,c2";

    fn label(path: &Path) -> Option<String> {
        let mut has = [0; 512];
        let length = lgetxattr(path, OsStr::new(LABEL), &mut has[..]).ok()?;
        Some(
            String::from_utf8_lossy(&has[..length])
                .trim_end_matches('\0')
                .to_owned(),
        )
    }

    #[tokio::test]
    async fn a_tree_is_labelled_and_nothing_that_its_links_lead_to() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("volume/below")).unwrap();
        for file in ["volume/file", "volume/below/file", "outside"] {
            fs::write(at(file), "").unwrap();
        }
        symlink(at("outside"), at("volume/leads-out")).unwrap();
        symlink(at("volume"), at("link")).unwrap();
        for _ in 0..2 {
            relabel(at("link").to_str().unwrap(), POD).await.unwrap();
        }
        for path in ["volume", "volume/file", "volume/below", "volume/below/file"] {
            assert_eq!(label(&at(path)).as_deref(), Some(POD), "{path}");
        }
        assert_ne!(label(&at("outside")).as_deref(), Some(POD));

        let single = at("outside");
        relabel(single.to_str().unwrap(), POD).await.unwrap();
        assert_eq!(label(&single).as_deref(), Some(POD));
        let error = relabel(at("gone").to_str().unwrap(), POD).await.unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }

    #[tokio::test]
    async fn the_node_itself_is_not_labelled() {
        let labels = || ["/var/lib", "/bin/", "/bin/sh"].map(|path| label(Path::new(path)));
        let before = labels();
        // The last is a link on most nodes, and what it leads to is meant as well.
        let bin = fs::canonicalize("/bin").unwrap();
        for path in ["/", "/var/lib", "/var/../var/lib/", bin.to_str().unwrap(), "/bin"] {
            let error = relabel(path, POD).await.unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
        assert_eq!(labels(), before);
    }
}
