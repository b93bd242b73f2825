//! The options as a table, read off the fields of [`Config`](super::Config): whoever adds a field there has added a flag,
//! a key of the file, a variable, a line of the help and of the manual page.

use std::{any::TypeId, ffi::OsString};

use clap::{
    Arg, Args, Command,
    error::{ContextKind, ContextValue},
};

use super::{Config, Live, parse};

/// What a value of an option looks like in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// A string or a switch, for options that know a third way.
    TextOrSwitch,
    /// A list of strings, or a single one.
    List,
}

impl Kind {
    /// What is expected, for people.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string in quotes",
            Self::Number => "a whole number",
            Self::Switch => "true or false",
            Self::TextOrSwitch => "a string in quotes, or true or false",
            Self::List => "a list of strings",
        }
    }
}

/// One option.
#[derive(Debug, Clone)]
pub struct Entry {
    arg: Arg,
}

impl Entry {
    /// Its key in the file, and its flag without the dashes.
    pub fn key(&self) -> &str {
        // Each field of `Config` says `long`; a test goes through them all.
        self.arg.get_long().unwrap_or_default()
    }

    /// Its name in clap's matches.
    pub fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// Whether a key of the file means it: its own, or cri-dockerd's name for it.
    pub fn has_name(&self, name: &str) -> bool {
        let aliases = self.arg.get_all_aliases().unwrap_or_default();
        name == self.key() || aliases.contains(&name)
    }

    /// The value that `text` stands for, as this program writes it: one may be written in several ways.
    pub fn written(&self, text: &str) -> String {
        if self.kind() == Kind::Switch {
            return parse::boolean(text).map_or_else(|_| text.to_owned(), |switch| switch.to_string());
        }
        let mut values = self
            .arg
            .get_value_parser()
            .possible_values()
            .into_iter()
            .flatten();
        let value = values.find(|value| value.matches(text, self.arg.is_ignore_case_set()));
        value.map_or_else(|| text.to_owned(), |value| value.get_name().to_owned())
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("DOCKSIDE_{}", self.key().replace('-', "_").to_uppercase())
    }

    /// What it means, in one sentence or more.
    pub fn help(&self) -> String {
        self.arg.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// The group it belongs to.
    pub fn heading(&self) -> &str {
        self.arg.get_help_heading().unwrap_or("Other")
    }

    /// Whether it is one of cri-dockerd's that has no meaning here.
    pub fn without_meaning(&self) -> bool {
        self.arg.is_hide_set()
    }

    /// What it is without being given.
    pub fn defaults(&self) -> Vec<String> {
        let values = self.arg.get_default_values().iter();
        values
            .flat_map(|value| self.split(&value.to_string_lossy()))
            .collect()
    }

    /// Several values written in one string, as flags and variables have them.
    pub fn split(&self, text: &str) -> Vec<String> {
        match self.arg.get_value_delimiter() {
            Some(delimiter) => text.split(delimiter).map(str::to_owned).collect(),
            None => vec![text.to_owned()],
        }
    }

    /// What its values look like in the file.
    pub fn kind(&self) -> Kind {
        if self.arg.get_value_delimiter().is_some() {
            return Kind::List;
        }
        let parser = self.arg.get_value_parser();
        let kind = parser.type_id();
        let numbers = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
        ];
        if kind == TypeId::of::<bool>() {
            Kind::Switch
        } else if numbers.into_iter().any(|number| kind == number) {
            Kind::Number
        } else if parser
            .possible_values()
            .is_some_and(|mut values| values.any(|value| value.matches("true", false)))
        {
            Kind::TextOrSwitch
        } else {
            Kind::Text
        }
    }

    /// Whether a running dockside takes a new value.
    pub fn can_be_reloaded(&self) -> bool {
        let live = Live::augment_args(Command::new("live"));
        live.get_arguments().any(|arg| arg.get_id() == self.arg.get_id())
    }

    /// Checks a value as the flag would be; the error says what was expected.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let command = Command::new("check").no_binary_name(true).arg(self.arg.clone());
        let flag = OsString::from(format!("--{}={value}", self.key()));
        let Err(error) = command.try_get_matches_from([flag]) else {
            return Ok(());
        };
        if let Some(source) = std::error::Error::source(&error) {
            return Err(source.to_string());
        }
        match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) => Err(format!("expected one of {}", values.join(", "))),
            _ => Err(format!("expected {}", self.kind().expected())),
        }
    }
}

/// All options, in the order of the help.
pub fn entries() -> Vec<Entry> {
    Config::augment_args(Command::new("table"))
        .get_arguments()
        .map(|arg| Entry { arg: arg.clone() })
        .collect()
}

/// The option that somebody may have meant by `key`.
pub fn similar(key: &str) -> Option<String> {
    let command = Config::augment_args(Command::new("table").no_binary_name(true));
    let error = command.try_get_matches_from([format!("--{key}")]).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
        _ => None,
    }
}
