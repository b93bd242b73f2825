//! What was written into one container's cgroup behind the Engine.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use tracing::debug;
use translate::{
    resources::{CgroupWrite, Missing},
    stats::hierarchy::Hierarchies,
};

use super::{MOUNTS, controller, hierarchies};

/// The extended attribute of a container's cgroup that says what was written into it, as a JSON object. It is there
/// for as long as the cgroup is, which no file elsewhere could be.
const NOTE: &str = "trusted.dockside.written";

/// The controller whose cgroup has the note; on cgroup v2 it is the same for all.
const NOTED: &str = "memory";

/// The cgroup of one run of a container, and what was written into it.
#[derive(Debug, Default)]
pub(super) struct Values {
    loaded: bool,
    noted: bool,
    /// The cgroup that has the note, which is the last word.
    directory: Option<PathBuf>,
    files: BTreeMap<String, Kept>,
}

/// One file that was written.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    value: String,
    /// What the kernel says after it was written, in words of its own.
    shown: String,
}

/// Where the cgroups of a container are found: by its first process.
pub(super) struct Place<'a> {
    id: &'a str,
    membership: String,
    mounts: &'a Hierarchies,
}

impl<'a> Place<'a> {
    /// Fails if the process is gone.
    pub(super) fn of(id: &'a str, pid: i32) -> Result<Self, String> {
        let file = format!("/proc/{pid}/cgroup");
        Ok(Self {
            id,
            membership: fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?,
            mounts: hierarchies().map_err(|error| format!("cannot read {MOUNTS}: {error}"))?,
        })
    }

    fn directory(&self, controller: &str) -> Option<PathBuf> {
        let directory = self.mounts.of_container(&self.membership, controller, self.id)?;
        Some(directory.path().into())
    }

    /// The cgroup that has the note.
    pub(super) fn noted(&self) -> Option<PathBuf> {
        self.directory(NOTED)
    }
}

impl Values {
    /// Learns, once, what an earlier dockside has noted at the container's cgroup.
    pub(super) fn load(&mut self, place: &Place<'_>) {
        if std::mem::replace(&mut self.loaded, true) {
            return;
        }
        self.directory = place.noted();
        let Some(noted) = self.noted_now() else { return };
        self.noted = true;
        for (file, value) in noted {
            if let Some(directory) = place.directory(controller(&file)) {
                let path = directory.join(&file);
                // Whatever the kernel says of it now: it is to be written again.
                let shown = String::new();
                self.files.insert(file, Kept { path, value, shown });
            }
        }
    }

    /// What the note says, if there is one.
    fn noted_now(&self) -> Option<BTreeMap<String, String>> {
        let mut text = vec![0; 64 << 10];
        let length = getxattr(self.directory.as_ref()?, NOTE, &mut text[..]).ok()?;
        serde_json::from_slice(&text[..length]).ok()
    }

    /// Whether it is known by now what was noted.
    pub(super) const fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Whether anything was ever written, by this dockside or by one before it.
    pub(super) fn is_noted(&self) -> bool {
        self.noted || !self.files.is_empty()
    }

    /// Leaves these files to others, and returns what they were kept at.
    pub(super) fn release(&mut self, files: &[&str]) -> Released {
        let all = std::mem::take(&mut self.files);
        let (released, kept): (BTreeMap<_, _>, _) = all
            .into_iter()
            .partition(|(file, _)| files.contains(&file.as_str()));
        self.files = kept;
        if !released.is_empty() {
            self.note();
        }
        Released(released)
    }

    /// Keeps again what was released.
    pub(super) fn take_back(&mut self, Released(mut released): Released) {
        if !released.is_empty() {
            self.files.append(&mut released);
            self.note();
        }
    }

    /// Writes these values, and the earlier ones again; then notes them. Returns what failed.
    pub(super) fn write(&mut self, place: &Place<'_>, writes: &[CgroupWrite]) -> Vec<String> {
        let mut failures = Vec::new();
        for CgroupWrite { file, value, missing } in writes {
            let controller = controller(file);
            let Some(directory) = place.directory(controller) else {
                if *missing == Missing::Error {
                    failures.push(format!(
                        "cannot set {file}: the container is in no cgroup of its own with the {controller} controller"
                    ));
                }
                continue;
            };
            let path = directory.join(file);
            match write(&path, value) {
                // What cannot be read is no setting, but a command to the kernel.
                Ok(()) => match fs::read_to_string(&path) {
                    Ok(shown) => {
                        let value = value.clone();
                        self.files.insert(file.clone(), Kept { path, value, shown });
                    }
                    Err(error) => debug!(file = %path.display(), "is written and not kept: {error}"),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound && *missing == Missing::Ignore => {}
                Err(error) => failures.push(failure(&path, value, &error)),
            }
        }
        failures.extend(self.restore());
        self.loaded = true;
        self.directory = place.noted();
        self.note();
        failures
    }

    /// Writes again what others have changed. Returns what failed.
    pub(super) fn restore_noted(&mut self) -> Vec<String> {
        // Another dockside on this Engine may have changed it by an update.
        if let Some(noted) = self.noted_now() {
            self.files.retain(|file, kept| match noted.get(file) {
                Some(value) => {
                    kept.value.clone_from(value);
                    true
                }
                None => false,
            });
        }
        self.restore()
    }

    fn restore(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        for Kept { path, value, shown } in self.files.values_mut() {
            match fs::read_to_string(&*path) {
                Ok(text) if text != *shown => {
                    debug!(file = %path.display(), now = text.trim(), value, "was changed, and is set again");
                    match write(path, value) {
                        Ok(()) => *shown = fs::read_to_string(&*path).unwrap_or(text),
                        Err(error) => failures.push(failure(path, value, &error)),
                    }
                }
                // Unchanged; or the container has ended.
                _ => {}
            }
        }
        failures
    }

    /// The files to watch.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.values().map(|kept| kept.path.as_path())
    }

    fn note(&mut self) {
        let Some(directory) = &self.directory else { return };
        self.noted = true;
        let noted: BTreeMap<_, _> = self
            .files
            .iter()
            .map(|(file, kept)| (file, &kept.value))
            .collect();
        let text = serde_json::json!(noted).to_string();
        if let Err(error) = setxattr(directory, NOTE, text.as_bytes(), XattrFlags::empty()) {
            debug!(directory = %directory.display(), "cannot note what was written: {error}");
        }
    }
}

/// Files that were kept.
#[derive(Debug, Default)]
pub struct Released(BTreeMap<String, Kept>);

/// Never makes the file: a cgroup would answer that with another error.
fn write(path: &Path, value: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    io::Write::write_all(&mut file, value.as_bytes())
}

fn failure(path: &Path, value: &str, error: &io::Error) -> String {
    format!("cannot write {value:?} to {}: {error}", path.display())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write_of(file: &str, value: &str, missing: Missing) -> CgroupWrite {
        CgroupWrite {
            file: file.into(),
            value: value.into(),
            missing,
        }
    }

    #[test]
    fn files_are_written_in_place_never_made_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("pod.slice/docker-abc.scope");
        fs::create_dir_all(&directory).unwrap();
        for file in ["memory.high", "memory.max", "hugetlb.2MB.max"] {
            fs::write(directory.join(file), "before, and longer\n").unwrap();
        }
        let mounts = Hierarchies::parse(&format!(
            "28 24 0:25 / {} rw,nosuid - cgroup2 cgroup2 rw\n",
            root.path().display()
        ));
        let place = |id, membership: &str| Place {
            id,
            membership: membership.into(),
            mounts: &mounts,
        };
        let here = place("abc", "0::/pod.slice/docker-abc.scope/below\n");
        let mut values = Values::default();
        let writes = [
            write_of("memory.high", "1048576", Missing::Error),
            write_of("memory.max", "2", Missing::Error),
            write_of("hugetlb.2MB.max", "0", Missing::Ignore),
            write_of("hugetlb.1GB.max", "0", Missing::Ignore),
            write_of("memory.none", "1", Missing::Error),
        ];
        let failures = values.write(&here, &writes);
        assert!(
            failures.len() == 1 && failures[0].contains("memory.none"),
            "{failures:?}"
        );
        let has = |file| fs::read_to_string(directory.join(file)).unwrap();
        assert_eq!(
            (has("memory.high"), has("hugetlb.2MB.max")),
            ("1048576".into(), "0".into())
        );
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
        assert_eq!(values.paths().count(), 3);

        // As a dockside that starts knows it, where extended attributes may be made.
        let mut later = Values::default();
        later.load(&here);
        later.load(&here);
        assert!(later.is_loaded() && (!later.is_noted() || later.paths().count() == 3));

        let released = values.release(&["memory.max"]);
        values.take_back(released);
        assert_eq!(values.paths().count(), 3);
        let _ = values.release(&["memory.max"]);
        for file in ["memory.high", "memory.max"] {
            fs::write(directory.join(file), "max\n").unwrap();
        }
        assert!(values.restore_noted().is_empty());
        assert_eq!(
            (has("memory.high"), has("memory.max")),
            ("1048576".into(), "max\n".into())
        );
        fs::remove_dir_all(&directory).unwrap();
        assert!(values.restore_noted().is_empty(), "the container has ended");

        for (id, membership) in [
            ("abc", "2:memory:/docker-abc\n"),
            ("other", "0::/pod.slice/docker-abc.scope\n"),
        ] {
            let failures = values.write(&place(id, membership), &writes[..3]);
            assert!(failures[0].contains("in no cgroup of its own"), "{failures:?}");
        }
    }
}
