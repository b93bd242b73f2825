//! How much a directory holds.

use std::{collections::HashSet, io, os::fd::OwnedFd, path::Path, rc::Rc};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, open, openat, statat},
    io::Errno,
};

/// What a directory and everything below it take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are allocated on disk.
    pub bytes: u64,
    /// Files, directories and whatever else has an inode.
    pub inodes: u64,
}

/// Entries between two calls of `rest`.
const BATCH: u32 = 256;

/// A path that is longer than this is gone on with from a descriptor: the kernel takes 4096 bytes.
const LONG: usize = 2048;

const FLAGS: OFlags = OFlags::DIRECTORY
    .union(OFlags::RDONLY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// Counts `directory` and what is below it as `du` does: blocks, and a file with several names once. Calls `rest`
/// from time to time.
///
/// Whoever owns the files may change them meanwhile: what has gone is passed over, and no link is followed, so
/// that nobody can have other files of the host counted as his. Paths may be as deep as they like.
pub fn below(directory: &Path, rest: &mut dyn FnMut()) -> io::Result<Usage> {
    let top = open(directory, FLAGS, Mode::empty())?;
    let own = rustix::fs::fstat(&top)?;
    let mut usage = Usage {
        bytes: blocks(&own),
        inodes: 1,
    };
    let mut linked = HashSet::new();
    let mut pending = vec![(Rc::new(top), b".".to_vec())];
    let mut entries = 0;
    while let Some((base, path)) = pending.pop() {
        let opened = match open_below(&base, &path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            other => other?,
        };
        let opened = Rc::new(opened);
        let (base, path) = if path.len() > LONG {
            (Rc::clone(&opened), b".".to_vec())
        } else {
            (base, path)
        };
        let listed = Dir::read_from(&*opened)?;
        for entry in listed {
            let Ok(entry) = entry else { break };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            entries += 1;
            if entries % BATCH == 0 {
                rest();
            }
            let Ok(stat) = statat(&*opened, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if stat.st_nlink > 1 && !is_directory && !linked.insert((stat.st_dev, stat.st_ino)) {
                continue;
            }
            usage.bytes = usage.bytes.saturating_add(blocks(&stat));
            usage.inodes += 1;
            if is_directory && stat.st_dev == own.st_dev {
                pending.push((Rc::clone(&base), [&path[..], b"/", name.to_bytes()].concat()));
            }
        }
    }
    Ok(usage)
}

/// One name after the other, since the kernel does not follow a link in the last one only. `openat2` could tell it not
/// to follow any, but Linux has that from 5.6 on, and systemd takes it from a unit with `RestrictSUIDSGID=`.
fn open_below(base: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let mut names = path.split(|byte| *byte == b'/');
    let first = openat(base, names.next().unwrap_or_default(), FLAGS, Mode::empty())?;
    names.try_fold(first, |at, name| openat(&at, name, FLAGS, Mode::empty()))
}

/// The kernel counts in blocks of 512 bytes, whatever the filesystem's are.
fn blocks(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks)
        .unwrap_or_default()
        .saturating_mul(512)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    #[test]
    fn links_are_counted_once_and_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("big"), vec![1; 1 << 20]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/file"), vec![1; 200_000]).unwrap();
        fs::hard_link(path("a/b/file"), path("again")).unwrap();
        symlink(outside.path(), path("link")).unwrap();
        symlink(path("a"), path("a/b/loop")).unwrap();
        let usage = below(directory.path(), &mut || {}).unwrap();
        // The directory, a, b, file, link, loop.
        assert_eq!(usage.inodes, 6);
        let blocks = |path: &Path| fs::symlink_metadata(path).unwrap().blocks() * 512;
        let expected: u64 = ["", "a", "a/b", "a/b/file", "link", "a/b/loop"]
            .iter()
            .map(|name| blocks(&path(name)))
            .sum();
        assert_eq!(usage.bytes, expected);
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        symlink("/", directory.path().join("root")).unwrap();
        assert!(below(&directory.path().join("root"), &mut || {}).is_err());
        assert!(below(&directory.path().join("none"), &mut || {}).is_err());
    }

    #[test]
    fn deep_paths_and_many_files_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        // Longer than the kernel takes in one piece, once it is gone down by parts.
        let name = "d".repeat(200);
        let mut at = open(directory.path(), FLAGS, Mode::empty()).unwrap();
        for _ in 0..30 {
            rustix::fs::mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
            at = openat(&at, name.as_str(), FLAGS, Mode::empty()).unwrap();
        }
        for number in 0..600 {
            fs::write(directory.path().join(number.to_string()), b"").unwrap();
        }
        let mut rests = 0;
        let usage = below(directory.path(), &mut || rests += 1).unwrap();
        assert_eq!((usage.inodes, rests), (631, 2));
    }
}
