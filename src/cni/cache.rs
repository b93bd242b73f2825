//! libcni's cache directory: one file per attachment, in `results`.
//!
//! Everything here blocks for the time of a few small files.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, ErrorKind, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use translate::cni::{
    cache::{Entry, Record, file_name, network_of},
    result,
};

use super::{CniError, INTERFACE};

/// The cache of one directory.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
}

/// A file about an attachment.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// The network's name, from the file's name.
    pub(super) network: String,
    /// `None` if the file's content is damaged.
    pub(super) entry: Option<Entry>,
}

impl Found {
    /// The addresses that are recorded, if they can be made out.
    pub(super) fn addresses(self) -> Option<Vec<IpAddr>> {
        let entry = self.entry?;
        result::addresses(entry.result()?, INTERFACE)
            .inspect_err(|cause| {
                tracing::warn!(file = %self.path.display(), %cause, "a CNI cache file has no result that makes sense");
            })
            .ok()
    }
}

impl Cache {
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    /// Writes a record, whole or not at all.
    pub(super) fn write(&self, record: &Record) -> Result<(), CniError> {
        let name = file_name(&record.network_name, &record.container_id, &record.if_name);
        let path = self.results().join(&name);
        // Not among the results: other runtimes take every file there for an attachment.
        let draft = self.dir.join(format!(".{name}.new"));
        let write = || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(self.results())?;
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(record.to_json().as_bytes())?;
            drop(file);
            fs::rename(&draft, &path)
        };
        write().map_err(|cause| {
            let _ = fs::remove_file(&draft);
            CniError::Cache { path, cause }
        })
    }

    /// What is recorded of a sandbox's interface: in the network named `preferred` if it is there,
    /// otherwise in any. Usually one, or none.
    ///
    /// Plugins that attach pods to several networks keep such records too, in the same directory if
    /// it is libcni's default. They undo these themselves.
    pub(super) fn find(
        &self,
        container_id: &str,
        ifname: &str,
        preferred: Option<&str>,
    ) -> Result<Vec<Found>, CniError> {
        if let Some(network) = preferred {
            let path = self.results().join(file_name(network, container_id, ifname));
            if let Some(found) = read(path, network)? {
                return Ok(vec![found]);
            }
        }
        let mut all = Vec::new();
        for name in self.names()? {
            if let Some(network) = network_of(&name, container_id, ifname)
                && let Some(found) = read(self.results().join(&name), network)?
            {
                all.push(found);
            }
        }
        Ok(all)
    }

    /// Every intact record.
    pub(super) fn records(&self) -> Result<Vec<Record>, CniError> {
        let mut records = Vec::new();
        for name in self.names()? {
            let path = self.results().join(name);
            if let Some(text) = contents(&path)?
                && let Ok(Entry::Record(record)) = parse(&text)
            {
                records.push(*record);
            }
        }
        Ok(records)
    }

    /// Forgets a sandbox's interface in a network.
    pub(super) fn remove(&self, network: &str, container_id: &str, ifname: &str) -> Result<(), CniError> {
        let path = self.results().join(file_name(network, container_id, ifname));
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(CniError::Cache { path, cause }),
            _ => Ok(()),
        }
    }

    /// The names of all files, sorted.
    fn names(&self) -> Result<Vec<String>, CniError> {
        let dir = self.results();
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&dir)? {
                names.extend(entry?.file_name().into_string().ok());
            }
            names.sort_unstable();
            Ok(names)
        };
        match list() {
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(cause) => Err(CniError::Cache { path: dir, cause }),
            Ok(names) => Ok(names),
        }
    }
}

/// What a file has in it; `None` if it is not there.
fn contents(path: &Path) -> Result<Option<Vec<u8>>, CniError> {
    match fs::read(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(CniError::Cache {
            path: path.to_owned(),
            cause,
        }),
        Ok(text) => Ok(Some(text)),
    }
}

fn read(path: PathBuf, network: &str) -> Result<Option<Found>, CniError> {
    let Some(text) = contents(&path)? else {
        return Ok(None);
    };
    // A damaged file is as good as none, as in libcni: what it was about must still be undone.
    let entry = parse(&text)
        .inspect_err(|cause| tracing::warn!(file = %path.display(), %cause, "a CNI cache file is damaged"))
        .ok();
    Ok(Some(Found {
        path,
        network: network.to_owned(),
        entry,
    }))
}

fn parse(text: &[u8]) -> Result<Entry, String> {
    std::str::from_utf8(text)
        .map_err(|cause| cause.to_string())
        .and_then(|text| Entry::parse(text).map_err(|cause| cause.to_string()))
}
