//! The options in effect, for people and programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{
    source::{DEFAULT_FILE, Origin},
    table::{self, Kind},
};

/// The options in effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective(pub(super) Vec<Setting>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub(super) key: String,
    pub(super) kind: Kind,
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

impl Setting {
    fn value(&self) -> Value {
        // cri-dockerd's way to give an empty list is an empty string.
        let list = || self.values.iter().filter(|value| !value.is_empty());
        match (self.kind, self.values.first()) {
            (Kind::List, _) => list().cloned().collect(),
            (_, None) => Value::Null,
            (Kind::Number, Some(text)) => text.parse::<u64>().map_or(Value::Null, Value::from),
            (Kind::Switch | Kind::TextOrSwitch, Some(text)) if text == "true" || text == "false" => {
                Value::Bool(text == "true")
            }
            (_, Some(text)) => Value::String(text.clone()),
        }
    }
}

impl Effective {
    /// As `crictl info` shows them.
    pub fn to_json(&self) -> String {
        let settings = self
            .0
            .iter()
            .map(|setting| (setting.key.clone(), setting.value()));
        Value::Object(settings.collect::<Map<_, _>>()).to_string()
    }

    /// With who gave each value, for programs.
    pub fn describe_json(&self) -> String {
        let settings = self.0.iter().map(|setting| {
            let description = json!({ "value": setting.value(), "origin": setting.origin.to_string() });
            (setting.key.clone(), description)
        });
        format!("{:#}", Value::Object(settings.collect::<Map<_, _>>()))
    }

    /// As a configuration file, with who gave each value.
    pub fn describe(&self) -> String {
        let lines: Vec<_> = self
            .0
            .iter()
            .filter(|setting| !setting.value().is_null())
            .map(|setting| (assignment(&setting.key, &setting.value()), &setting.origin))
            .collect();
        let width = lines
            .iter()
            .map(|(line, _)| line.chars().count())
            .max()
            .unwrap_or(0);
        lines.iter().fold(String::new(), |mut text, (line, origin)| {
            let _ = writeln!(text, "{line:width$}  # {origin}");
            text
        })
    }

    /// These options with some changed.
    pub fn with(&self, changes: &[Change<'_>]) -> Self {
        let settings = self.0.iter().map(|old| {
            let change = changes.iter().find(|change| change.key == old.key);
            change.map_or(old, |change| change.setting).clone()
        });
        Self(settings.collect())
    }

    /// The options that differ in `newer`.
    pub fn changes<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = Change<'a>> {
        newer.0.iter().filter_map(|new| {
            let old = self.0.iter().find(|old| old.key == new.key);
            let differs = old.is_none_or(|old| old.value() != new.value());
            differs.then(|| Change {
                key: &new.key,
                value: new.value().to_string(),
                setting: new,
            })
        })
    }
}

/// An option with a new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// The option.
    pub key: &'a str,
    /// Its new value.
    pub value: String,
    setting: &'a Setting,
}

/// A line of TOML; JSON's strings, numbers, switches and lists of strings are TOML's too.
fn assignment(key: &str, value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(ToString::to_string).collect();
            format!("{key} = [{}]", items.join(", "))
        }
        _ => format!("{key} = {value}"),
    }
}

/// A configuration file in which every option is explained and none is set.
pub fn template() -> String {
    let mut text = format!(
        "# Options of dockside ({DEFAULT_FILE}). What is given here overrides the default, which is shown; a file in\n\
         # config.d/*.toml overrides this one, an environment variable (log-level is DOCKSIDE_LOG_LEVEL) overrides\n\
         # files, and a flag (--log-level) overrides all. `dockside config` shows what is in effect, and whence.\n\
         # \"reload\": `systemctl reload dockside` is enough for a new value; the others need a restart, which disturbs no pod.\n"
    );
    let mut entries = table::entries();
    entries.retain(|entry| !entry.without_meaning());
    let headings: Vec<_> = entries.iter().map(|entry| entry.heading().to_owned()).collect();
    entries.sort_by_key(|entry| headings.iter().position(|heading| heading == entry.heading()));
    let mut heading = "";
    for entry in &entries {
        if entry.heading() != heading {
            heading = entry.heading();
            let _ = write!(text, "\n## {heading}\n");
        }
        let setting = Setting {
            key: entry.key().to_owned(),
            kind: entry.kind(),
            values: entry.defaults(),
            origin: Origin::Default,
        };
        let reload = if entry.can_be_reloaded() { " (reload)" } else { "" };
        let line = match setting.value() {
            Value::Null => format!("{} = \"…\" (not set unless given)", entry.key()),
            value => assignment(entry.key(), &value),
        };
        let _ = write!(text, "\n# {}{reload}\n# {line}\n", entry.help());
    }
    text
}
