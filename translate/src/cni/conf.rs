//! Network configurations: `.conflist` files, and single plugins in `.conf` and `.json` files.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Fields, Version, is_valid_name, raw, version::VersionError};

/// A network: what is run, in which order, for every pod.
#[derive(Debug, Clone)]
pub struct Network {
    /// The network's name, fit to be part of a file's name.
    pub name: String,
    /// The newest version that the configuration offers and that is known here.
    pub version: Version,
    /// `GC` must not be called.
    pub disable_gc: bool,
    /// At least one.
    pub plugins: Vec<Plugin>,
    /// The configuration as one self-contained list, for the cache.
    pub document: String,
}

/// One plugin of a network.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The name of its executable: no path.
    pub kind: String,
    /// The capabilities it declares.
    pub capabilities: BTreeSet<String>,
    /// Its whole configuration.
    pub fields: Fields,
}

/// A configuration that cannot be used: which file, which field, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {}{why}", field_prefix(.field))]
pub struct ConfError {
    /// The file it was read from.
    pub file: String,
    /// The field's path; empty if the whole document is meant.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

fn field_prefix(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!("{field}: ")
    }
}

/// What a file holds, judged by its name as libcni does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `.conflist`: a network.
    List,
    /// `.conf` and `.json`: a network of one plugin, the form before 0.3.0.
    Single,
}

impl FileKind {
    /// `None` for a file that is no configuration.
    pub fn of(file_name: &str) -> Option<Self> {
        match file_name.rsplit_once('.')?.1 {
            "conflist" => Some(Self::List),
            "conf" | "json" => Some(Self::Single),
            _ => None,
        }
    }
}

/// A list as its file says it; plugins in files of their own may have to be added.
#[derive(Debug, Clone)]
pub struct List {
    network: Network,
    fields: Fields,
    wants_folder: bool,
}

impl List {
    /// The network's name: also the name of the folder, beside the file, that
    /// [`Self::complete`] wants to know about.
    pub fn name(&self) -> &str {
        &self.network.name
    }

    /// Whether plugins in files of their own belong to this network.
    pub const fn wants_folder(&self) -> bool {
        self.wants_folder
    }

    /// The network, with the plugins of the `.conf` files in its folder appended in the order of
    /// their names. `folder` gives names and texts.
    ///
    /// # Errors
    ///
    /// A plugin's file that cannot be used, or a network without any plugin.
    pub fn complete<'a>(
        mut self,
        file: &str,
        folder: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Network, ConfError> {
        let mut appended = false;
        if self.wants_folder {
            let mut files: Vec<_> = folder.into_iter().collect();
            files.sort_unstable();
            for (name, text) in files {
                let fields = object(name, text)?;
                self.network.plugins.push(plugin(name, "", fields)?);
                appended = true;
            }
        }
        if self.network.plugins.is_empty() {
            return Err(error(
                file,
                "plugins",
                "names no plugin, and the network's folder has none",
            ));
        }
        if appended {
            // The cache must name every plugin that has to be undone, whatever the folder holds by then.
            let plugins: Vec<&Fields> = self.network.plugins.iter().map(|plugin| &plugin.fields).collect();
            self.fields.insert("plugins".to_owned(), raw(&plugins));
            self.fields
                .insert("loadOnlyInlinedPlugins".to_owned(), raw(&true));
            self.network.document = raw(&self.fields).get().to_owned();
        }
        Ok(self.network)
    }
}

/// Reads a `.conflist` file.
///
/// # Errors
///
/// Names the field that is missing or of the wrong kind.
pub fn parse_list(file: &str, text: &str) -> Result<List, ConfError> {
    let fields = object(file, text)?;
    let name = name(file, &fields)?;
    let version = version(file, &fields)?;
    let inlined_only = boolean(file, &fields, "loadOnlyInlinedPlugins")?;
    let entries: Option<Vec<Fields>> = field(file, &fields, "plugins", "a list of objects")?;
    let plugins = match entries {
        Some(entries) if entries.is_empty() => return Err(error(file, "plugins", "is an empty list")),
        Some(entries) => entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| plugin(file, &format!("plugins[{index}]."), entry))
            .collect::<Result<_, _>>()?,
        None if inlined_only => {
            return Err(error(
                file,
                "plugins",
                "is missing, and loadOnlyInlinedPlugins is true",
            ));
        }
        None => Vec::new(),
    };
    Ok(List {
        network: Network {
            name,
            version,
            disable_gc: boolean(file, &fields, "disableGC")?,
            plugins,
            document: text.to_owned(),
        },
        fields,
        wants_folder: !inlined_only,
    })
}

/// Reads a `.conf` or `.json` file: one plugin that is a network of its own.
///
/// # Errors
///
/// Names the field that is missing or of the wrong kind.
pub fn parse_single(file: &str, text: &str) -> Result<Network, ConfError> {
    let fields = object(file, text)?;
    if !fields.contains_key("type") && fields.contains_key("plugins") {
        return Err(error(
            file,
            "type",
            "is missing; a list of plugins belongs in a .conflist file",
        ));
    }
    let name = name(file, &fields)?;
    let version = version(file, &fields)?;
    let only = plugin(file, "", fields)?;
    let document = Fields::from([
        ("cniVersion".to_owned(), raw(&version.to_string())),
        ("name".to_owned(), raw(&name)),
        ("plugins".to_owned(), raw(&[&only.fields])),
    ]);
    Ok(Network {
        name,
        version,
        disable_gc: false,
        plugins: vec![only],
        document: raw(&document).get().to_owned(),
    })
}

/// Reads the configuration that a cache entry holds: a list, or, from runtimes that add single
/// plugins, one plugin.
///
/// # Errors
///
/// As [`parse_list`] and [`parse_single`].
pub fn parse_cached(file: &str, text: &str) -> Result<Network, ConfError> {
    if object(file, text)?.contains_key("plugins") {
        parse_list(file, text)?.complete(file, [])
    } else {
        parse_single(file, text)
    }
}

fn error(file: &str, field: impl Into<String>, why: impl Into<String>) -> ConfError {
    ConfError {
        file: file.to_owned(),
        field: field.into(),
        why: why.into(),
    }
}

fn object(file: &str, text: &str) -> Result<Fields, ConfError> {
    serde_json::from_str(text).map_err(|cause| error(file, "", format!("is not a JSON object: {cause}")))
}

/// A field that may be absent; null is absent.
fn field<'a, T: Deserialize<'a>>(
    file: &str,
    fields: &'a Fields,
    key: &str,
    expected: &str,
) -> Result<Option<T>, ConfError> {
    fields.get(key).map_or(Ok(None), |value| {
        serde_json::from_str(value.get())
            .map_err(|_| error(file, key, format!("is {}, not {expected}", shorten(value))))
    })
}

/// A value for an error message: never a whole document.
fn shorten(value: &RawValue) -> String {
    let mut chars = value.get().chars();
    let head: String = chars.by_ref().take(40).collect();
    if chars.next().is_some() {
        format!("{head}...")
    } else {
        head
    }
}

fn name(file: &str, fields: &Fields) -> Result<String, ConfError> {
    let name: String =
        field(file, fields, "name", "a string")?.ok_or_else(|| error(file, "name", "is missing"))?;
    if is_valid_name(&name) {
        Ok(name)
    } else {
        Err(error(
            file,
            "name",
            format!("{name:?} is not letters, digits, '_', '.' and '-' after a letter or digit"),
        ))
    }
}

/// The newest known version among `cniVersion` and `cniVersions`.
fn version(file: &str, fields: &Fields) -> Result<Version, ConfError> {
    let single: Option<String> = field(file, fields, "cniVersion", "a string")?;
    let several: Option<Vec<String>> = field(file, fields, "cniVersions", "a list of strings")?;
    let Some(several) = several else {
        let text = single.unwrap_or_default();
        return Version::parse(&text).map_err(|cause| error(file, "cniVersion", format!("{text:?} {cause}")));
    };
    // Versions of the future are what the list is for; only nonsense is an error.
    let mut best = None;
    let offered = several
        .iter()
        .enumerate()
        .map(|(index, text)| (format!("cniVersions[{index}]"), text));
    let single = single
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| ("cniVersion".to_owned(), text));
    for (field, text) in offered.chain(single) {
        match Version::parse(text) {
            Ok(version) => best = best.max(Some(version)),
            Err(VersionError::Unknown) => {}
            Err(cause) => return Err(error(file, field, format!("{text:?} {cause}"))),
        }
    }
    best.ok_or_else(|| {
        error(
            file,
            "cniVersions",
            format!("offers no version up to {}", Version::newest()),
        )
    })
}

/// A boolean, or a string that says one: libcni reads both.
fn boolean(file: &str, fields: &Fields, key: &str) -> Result<bool, ConfError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Text(String),
    }
    match field(file, fields, key, "true or false")? {
        None => Ok(false),
        Some(Flag::Bool(value)) => Ok(value),
        Some(Flag::Text(text)) => text
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| error(file, key, format!("is {text:?}, not true or false"))),
    }
}

fn plugin(file: &str, prefix: &str, fields: Fields) -> Result<Plugin, ConfError> {
    let at = |mut cause: ConfError| {
        cause.field.insert_str(0, prefix);
        cause
    };
    let kind: String = field(file, &fields, "type", "a string")
        .and_then(|kind| kind.ok_or_else(|| error(file, "type", "is missing")))
        .map_err(at)?;
    // It is looked up in directories that hold plugins, and nowhere else.
    if kind.is_empty() || kind == "." || kind == ".." || kind.contains(['/', '\\', '\0']) {
        return Err(at(error(
            file,
            "type",
            format!("{kind:?} is not the name of a plugin"),
        )));
    }
    let capabilities: Option<std::collections::BTreeMap<String, bool>> =
        field(file, &fields, "capabilities", "an object of true and false").map_err(at)?;
    Ok(Plugin {
        kind,
        capabilities: capabilities
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, declared)| declared.then_some(name))
            .collect(),
        fields,
    })
}

#[cfg(test)]
mod tests;
