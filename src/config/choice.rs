//! Options with a few values to choose from.

use clap::ValueEnum;

/// Who connects pods to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkPlugin {
    /// CNI plugins.
    Cni,
    /// A bridge network of the Engine's.
    #[value(alias = "no-op", alias = "")]
    Docker,
}

/// Whether sandboxes, containers and images are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Remember {
    /// They are remembered, and answers come from memory.
    On,
    /// They are not, and the Engine is asked at each read.
    Off,
}

/// When a negative `oom_score_adj` is raised. The two that are booleans are written as [`super::parse::boolean`] reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Restrict {
    /// Where the Engine's process lacks the capability to set it.
    Auto,
    /// Always.
    #[value(aliases = ["1", "t", "T", "TRUE", "True"])]
    True,
    /// Never.
    #[value(aliases = ["0", "f", "F", "FALSE", "False"])]
    False,
}

/// The least urgent messages that are logged; logrus' names are understood, in any case, as that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Every call to the Engine.
    Debug,
    /// What an administrator should know.
    Info,
    /// What looks wrong.
    #[value(alias = "warning")]
    Warn,
    /// What failed.
    #[value(alias = "fatal", alias = "panic")]
    Error,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// To the journal with their fields where stderr leads there, else `logfmt`.
    Auto,
    /// `key=value`.
    Logfmt,
    /// One JSON object a line.
    Json,
}
