//! Where values come from beside the command line: files and the environment.

use std::{
    ffi::OsStr,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{file, table::Entry};

/// The file that is read unless another is named. It may be missing.
pub const DEFAULT_FILE: &str = "/etc/dockside/config.toml";

/// Who gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A file.
    File {
        /// Which one.
        path: PathBuf,
        /// The key's line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// An option with the values that somebody gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The option.
    pub key: String,
    /// Its values: one, unless it is a list.
    pub values: Vec<String>,
    /// Who gave them.
    pub origin: Origin,
}

/// Reads `named`, or the default file, and the drop-ins beside it: of `/etc/dockside/config.toml` all
/// `/etc/dockside/config.d/*.toml` by name. A later one overrides an earlier one, key by key.
///
/// # Errors
///
/// All faults in all of them.
pub fn files(named: Option<&Path>, entries: &[Entry]) -> Result<Vec<Given>, Vec<String>> {
    let main = named.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    let mut paths = vec![main.to_owned()];
    let mut faults = Vec::new();
    match drop_ins(&main.with_extension("d")) {
        Ok(more) => paths.extend(more),
        Err(fault) => faults.push(fault),
    }
    let mut given = Vec::new();
    for path in &paths {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() && path == main => {
                continue;
            }
            Err(error) => {
                faults.push(format!("read {}: {error}", path.display()));
                continue;
            }
        };
        match file::read(path, &text, entries) {
            Ok(more) => given.extend(more),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(given) } else { Err(faults) }
}

fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let fault = |error: io::Error| format!("read {}: {error}", directory.display());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(fault(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        if path.extension() == Some(OsStr::new("toml")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What the environment says of the options.
///
/// # Errors
///
/// Every variable with an impossible value.
pub fn environment(
    variable: impl Fn(&str) -> Option<String>,
    entries: &[Entry],
) -> Result<Vec<Given>, Vec<String>> {
    let mut given = Vec::new();
    let mut faults = Vec::new();
    for entry in entries {
        let name = entry.variable();
        let Some(text) = variable(&name) else { continue };
        let values = entry.split(&text);
        for value in &values {
            if let Err(why) = entry.check(value) {
                faults.push(format!("environment variable {name}={value:?}: {why}"));
            }
        }
        given.push(Given {
            key: entry.key().to_owned(),
            values,
            origin: Origin::Environment(name),
        });
    }
    if faults.is_empty() { Ok(given) } else { Err(faults) }
}
