//! Brings the sources together: command line, environment, files, defaults, the first that has a value.

use std::{env, ffi::OsString, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, parser::ValueSource};

use super::{
    effective::{Effective, Setting},
    source::{self, Given, Origin},
    table,
};
use crate::cli::Cli;

/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "DOCKSIDE_CONFIG";

/// Why the options cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The command line is wrong, or asks for help, which is an error to clap.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// A file or the environment is wrong.
    #[error("{}", .0.join("\n"))]
    Sources(Vec<String>),
}

/// Reads the process's command line, its environment and the files.
///
/// # Errors
///
/// See [`LoadError`].
pub fn load() -> Result<Cli, LoadError> {
    load_from(env::args_os().collect(), |name| env::var(name).ok())
}

/// As [`load`], of the given command line, with the program's name first, and environment.
///
/// # Errors
///
/// See [`LoadError`].
pub fn load_from(args: Vec<OsString>, variable: impl Fn(&str) -> Option<String>) -> Result<Cli, LoadError> {
    // Once for the file's name and for faults of the command line alone; then with what the others say in place of
    // the defaults, so that clap itself lets the command line win.
    let first = Cli::try_parse_from_args(&args)?;
    let named = first
        .config_file
        .or_else(|| variable(FILE_VARIABLE).map(PathBuf::from));
    let entries = table::entries();
    let sources = (
        source::files(named.as_deref(), &entries),
        source::environment(&variable, &entries),
    );
    let given = match sources {
        (Ok(mut given), Ok(more)) => {
            given.extend(more);
            given
        }
        (files, environment) => {
            let faults = [files, environment].into_iter().filter_map(Result::err);
            return Err(LoadError::Sources(faults.flatten().collect()));
        }
    };
    let winner = |key: &str| -> Option<&Given> { given.iter().rev().find(|given| given.key == key) };

    let mut command = Cli::command();
    for entry in &entries {
        if let Some(given) = winner(entry.key()) {
            let values = given.values.clone();
            command = command.mut_arg(entry.id(), |arg| arg.default_values(values));
        }
    }
    let matches = command.try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let settings = entries.iter().filter_map(|entry| {
        let values: Vec<_> = matches
            .get_raw(entry.id())
            .into_iter()
            .flatten()
            .map(|value| entry.written(&value.to_string_lossy()))
            .collect();
        let origin = match (matches.value_source(entry.id()), winner(entry.key())) {
            (Some(ValueSource::CommandLine), _) => Origin::Flag,
            (_, Some(given)) => given.origin.clone(),
            _ => Origin::Default,
        };
        let given = origin != Origin::Default;
        (given || !entry.without_meaning()).then(|| Setting {
            key: entry.key().to_owned(),
            kind: entry.kind(),
            values,
            origin,
        })
    });
    cli.options.effective = Effective(settings.collect());
    Ok(cli)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn load_with(directory: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Result<Cli, LoadError> {
        let file = format!("--config={}", directory.join("config.toml").display());
        let args = ["dockside", &file].into_iter().chain(flags.iter().copied());
        load_from(args.map(OsString::from).collect(), |name| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_go_before_the_environment_before_files_before_defaults() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path();
        let text = "log-level = 'debug'\nshutdown-timeout = '1s'\nnetwork-plugin-mtu = 1\npod-cidr = '10.0.0.0/8'\n\
                    cni-bin-dir = ['/a', '/b']\nrestrict-oom-score-adj = false";
        fs::write(at.join("config.toml"), text).unwrap();
        fs::create_dir(at.join("config.d")).unwrap();
        fs::write(at.join("config.d/20.toml"), "shutdown-timeout = '3s'").unwrap();
        fs::write(
            at.join("config.d/10.toml"),
            "shutdown-timeout = '2s'\nnetwork-plugin-mtu = 2",
        )
        .unwrap();
        fs::write(at.join("config.d/30.toml.old"), "not toml").unwrap();
        let environment = [
            ("DOCKSIDE_LOG_LEVEL", "warn"),
            ("DOCKSIDE_POD_CIDR", "10.1.0.0/16,fd00::/64"),
        ];
        let cli = load_with(at, &["--log-level=error"], &environment).unwrap();
        let expected = [
            ("log-level = \"error\"", "command line".to_owned()),
            (
                "pod-cidr = [\"10.1.0.0/16\", \"fd00::/64\"]",
                "environment variable DOCKSIDE_POD_CIDR".to_owned(),
            ),
            (
                "shutdown-timeout = \"3s\"",
                format!("{}/config.d/20.toml:1", at.display()),
            ),
            (
                "network-plugin-mtu = 2",
                format!("{}/config.d/10.toml:2", at.display()),
            ),
            (
                "cni-bin-dir = [\"/a\", \"/b\"]",
                format!("{}/config.toml:5", at.display()),
            ),
            (
                "restrict-oom-score-adj = false",
                format!("{}/config.toml:6", at.display()),
            ),
            ("network-plugin = \"cni\"", "default".to_owned()),
        ];
        let described = cli.options.effective.describe();
        for (assignment, origin) in expected {
            let line = described.lines().find(|line| line.starts_with(assignment));
            let line = line.unwrap_or_else(|| panic!("{assignment}: {described}"));
            assert_eq!(line.split_once("  # ").unwrap().1, origin);
        }
        assert_eq!(cli.options.cni_bin_dir, ["/a", "/b"].map(PathBuf::from));
        assert_eq!(cli.options.network_plugin_mtu, 2);
    }

    #[test]
    fn a_value_is_shown_in_one_way_however_it_was_written() {
        let scratch = tempfile::tempdir().unwrap();
        let text = "cri-dockerd-root-directory = '/var/lib/cri-dockerd'\nlog-level = 'Warning'";
        fs::write(scratch.path().join("config.toml"), text).unwrap();
        let flags = [
            "--ipv6-dual-stack=True",
            "--restrict-oom-score-adj=F",
            "--network-plugin=",
        ];
        let cli = load_with(scratch.path(), &flags, &[]).unwrap();
        assert_eq!(cli.options.root_directory, Path::new("/var/lib/cri-dockerd"));
        let described = cli.options.effective.describe();
        for line in [
            "root-directory = \"/var/lib/cri-dockerd\"",
            "log-level = \"warn\"",
            "ipv6-dual-stack = true",
            "restrict-oom-score-adj = false",
            "network-plugin = \"docker\"",
        ] {
            let found = described
                .lines()
                .any(|told| told.starts_with(&format!("{line} ")));
            assert!(found, "{line}: {described}");
        }
    }

    #[test]
    fn all_faults_of_all_sources_are_told() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("config.toml"), "log-level = 1\nno-such = 2").unwrap();
        fs::create_dir(scratch.path().join("config.d")).unwrap();
        fs::write(scratch.path().join("config.d/a.toml"), "x = ").unwrap();
        let error = load_with(scratch.path(), &[], &[("DOCKSIDE_CONTAINER_LOG_SIZE", "1")]).unwrap_err();
        let text = error.to_string();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("config.d/a.toml:1:"), "{text}");
        assert!(
            text.contains("environment variable DOCKSIDE_CONTAINER_LOG_SIZE=\"1\": expected a size"),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let scratch = tempfile::tempdir().unwrap();
        let error = load_with(scratch.path(), &[], &[]).unwrap_err().to_string();
        assert!(error.contains("config.toml: No such file"), "{error}");
        let by_name = load_from(vec!["dockside".into()], |name| {
            (name == "DOCKSIDE_CONFIG").then(|| "/nonexistent/dockside.toml".to_owned())
        });
        assert!(
            by_name
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/dockside.toml")
        );
    }

    #[test]
    fn the_template_sets_nothing_and_its_lines_are_valid() {
        let scratch = tempfile::tempdir().unwrap();
        let template = super::super::effective::template();
        let file = scratch.path().join("config.toml");
        fs::write(&file, &template).unwrap();
        let untouched = load_with(scratch.path(), &[], &[]).unwrap();
        let bare = load_from(vec!["dockside".into(), "--config=/dev/null".into()], |_| None).unwrap();
        assert_eq!(untouched.options.effective, bare.options.effective);
        // With every example taken as it stands, nothing changes but who gave the values.
        let lines = template.lines().map(|line| match line.strip_prefix("# ") {
            Some(line) if line.ends_with("(not set unless given)") => "",
            Some(line) if line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => line,
            _ => "",
        });
        fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let taken = load_with(scratch.path(), &[], &[]).unwrap();
        let changed: Vec<_> = bare.options.effective.changes(&taken.options.effective).collect();
        assert_eq!(changed, []);
    }

    #[test]
    fn every_option_has_a_key_a_variable_a_help_and_a_default_that_passes() {
        let mut seen = std::collections::HashSet::new();
        for entry in table::entries() {
            assert!(seen.insert(entry.key().to_owned()) && !entry.key().is_empty());
            assert!(!entry.help().is_empty(), "{}", entry.key());
            assert!(
                entry.without_meaning() || entry.heading() != "Other",
                "{}",
                entry.key()
            );
            for value in entry.defaults() {
                assert_eq!(entry.check(&value), Ok(()), "{}", entry.key());
            }
        }
        assert!(table::entries().iter().any(table::Entry::can_be_reloaded));
    }
}
