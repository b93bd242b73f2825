//! `dockside doctor`: what a node lacks, why that matters, and the command that mends it.
//!
//! What only a running Engine can tell is gathered first, as a value; the checks then look at that and at files below a
//! root directory, so that both can be made up.

mod engine;
mod kernel;
mod kubelet;
mod network;
mod sockets;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use crate::config::Config;
pub use engine::{View, look};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something will not work as people expect.
    Warning,
    /// Pods cannot run.
    Error,
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, for scripts.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The command, or the change, that mends it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

impl Finding {
    fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            severity: Severity::Ok,
            seen: seen.into(),
            why: String::new(),
            fix: String::new(),
        }
    }

    fn new(
        severity: Severity,
        check: &'static str,
        seen: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity,
            seen: seen.into(),
            why: why.into(),
            fix: fix.into(),
        }
    }
}

/// What the checks look at.
pub struct Node<'a> {
    /// Where the node's file system begins.
    pub root: PathBuf,
    /// dockside's own options.
    pub config: &'a Config,
    /// The Engine, or why it does not answer.
    pub engine: Result<View, String>,
}

impl Node<'_> {
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text without the space around it, if it can be read.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    fn exists(&self, path: impl AsRef<Path>) -> bool {
        // A link into a root that is mounted elsewhere leads nowhere here.
        fs::symlink_metadata(self.path(path)).is_ok()
    }
}

/// All findings.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    findings: Vec<Finding>,
}

/// Makes all checks.
pub fn examine(node: &Node<'_>) -> Report {
    let groups = [
        engine::check,
        kernel::check,
        kubelet::check,
        network::check,
        sockets::check,
    ];
    Report {
        findings: groups.iter().flat_map(|check| check(node)).collect(),
    }
}

impl Report {
    /// What was found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// 0 if all is well, 1 with warnings, 2 with errors.
    pub fn exit_code(&self) -> ExitCode {
        match self.worst() {
            Severity::Ok | Severity::Note => ExitCode::SUCCESS,
            Severity::Warning => ExitCode::from(1),
            Severity::Error => ExitCode::from(2),
        }
    }

    fn worst(&self) -> Severity {
        self.findings
            .iter()
            .map(|finding| finding.severity)
            .max()
            .unwrap_or(Severity::Ok)
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        let report = serde_json::json!({ "worst": self.worst(), "findings": self.findings });
        format!("{report:#}")
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for finding in &self.findings {
            let severity = match finding.severity {
                Severity::Ok => "ok",
                Severity::Note => "note",
                Severity::Warning => "WARNING",
                Severity::Error => "ERROR",
            };
            writeln!(text, "{severity:8} {}: {}", finding.check, finding.seen)?;
            for (name, value) in [("why", &finding.why), ("fix", &finding.fix)] {
                if !value.is_empty() {
                    writeln!(text, "         {name}: {value}")?;
                }
            }
        }
        let count = |severity| {
            self.findings
                .iter()
                .filter(|finding| finding.severity == severity)
                .count()
        };
        writeln!(
            text,
            "{} checks, {} warnings, {} errors",
            self.findings.len(),
            count(Severity::Warning),
            count(Severity::Error)
        )?;
        f.write_str(&text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
