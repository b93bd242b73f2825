//! What can be said on the command line: to serve with options, or a sub-command.

mod man;

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode};

use clap::{ArgAction, CommandFactory, Parser, Subcommand, builder::styling};
use clap_complete::Shell;
use translate::facts::ApiVersion;

use crate::{
    config::{Config, effective},
    doctor,
};

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A CRI v1 server in front of Docker Engine.
///
/// The kubelet, crictl and other CRI clients connect to its sockets; it runs their pods on the Docker
/// Engine of this node. Without a command it serves.
#[derive(Debug, Clone, Parser)]
#[command(name = "dockside", version = VERSION, max_term_width = 100, styles = styling::Styles::plain())]
#[command(disable_version_flag = true, subcommand_precedence_over_arg = true)]
// As in cri-dockerd, the last one counts: a unit's drop-in appends its own to what is there.
#[command(args_override_self = true)]
pub struct Cli {
    /// The options.
    #[command(flatten)]
    pub options: Config,

    /// The configuration file, beside which *.toml in a folder of its name with .d are read.
    #[arg(long = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Print the version.
    #[arg(long, short = 'V', action = ArgAction::Version)]
    version: Option<bool>,

    /// Print the version and what it was built for.
    #[arg(long)]
    pub buildinfo: bool,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does beside serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Print the options in effect and who gave each value: a default, a file, the environment or a flag.
    Config {
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
        /// Print nothing but faults.
        #[arg(long, conflicts_with = "json")]
        check: bool,
        /// Print a configuration file that explains every option and sets none.
        #[arg(long, conflicts_with_all = ["json", "check"])]
        template: bool,
    },
    /// Tell what this node lacks, why that matters, and the command that mends it.
    ///
    /// Ends with status 0 if all is well, 1 with warnings, 2 with errors. Options before the command are taken into
    /// account, such as --docker-endpoint.
    Doctor {
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
        /// Where the node's files are, if not below /.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
    },
    /// Print the version and what it was built for.
    Version,
    /// Print a shell's completions.
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Print the manual page.
    #[command(hide = true)]
    Man,
}

impl Cli {
    /// Reads a command line alone, without files and environment.
    pub(crate) fn try_parse_from_args(args: &[OsString]) -> Result<Self, clap::Error> {
        Self::try_parse_from(args)
    }
}

/// Prints the version, and what the program was built for.
#[expect(clippy::print_stdout, reason = "the answer to a command")]
pub fn print_version() -> ExitCode {
    println!(
        "dockside {VERSION}\nCRI v1, Engine API {} to {}\n{} {}",
        ApiVersion::FLOOR,
        ApiVersion::CEILING,
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    ExitCode::SUCCESS
}

/// Prints the options in effect.
#[expect(clippy::print_stdout, reason = "the answer to a command")]
pub fn print_config(config: &Config, json: bool, check: bool) -> ExitCode {
    match (check, json) {
        (true, _) => {}
        (false, true) => println!("{}", config.effective.describe_json()),
        (false, false) => print!("{}", config.effective.describe()),
    }
    ExitCode::SUCCESS
}

/// Examines the node and prints what was found.
#[expect(clippy::print_stdout, reason = "the answer to a command")]
pub async fn print_findings(config: &Config, json: bool, root: PathBuf) -> ExitCode {
    let engine = doctor::look(config).await;
    let report = doctor::examine(&doctor::Node { root, config, engine });
    if json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    report.exit_code()
}

/// Prints a configuration file that explains every option and sets none.
#[expect(clippy::print_stdout, reason = "the answer to a command")]
pub fn print_template() -> ExitCode {
    print!("{}", effective::template());
    ExitCode::SUCCESS
}

/// Prints what `shell` has to know about the command line.
pub fn print_completions(shell: Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Cli::command(), "dockside", &mut io::stdout());
    ExitCode::SUCCESS
}

/// Prints the manual page in roff.
pub fn print_man() -> ExitCode {
    match man::write(Cli::command(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
