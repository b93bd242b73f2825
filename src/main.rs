//! The dockside program: options, logging, the runtime; the rest is in the library.

use std::process::ExitCode;

use dockside::{
    app,
    cli::{self, Command},
    config::{
        Config,
        load::{LoadError, load},
    },
    logging::Logging,
};

fn main() -> ExitCode {
    let cli = match load() {
        Ok(cli) => cli,
        Err(LoadError::CommandLine(error)) => error.exit(),
        Err(error) => return fault(&error),
    };
    match cli.command {
        Some(Command::Config { template: true, .. }) => cli::print_template(),
        Some(Command::Config { json, check, .. }) => cli::print_config(&cli.options, json, check),
        Some(Command::Version) => cli::print_version(),
        Some(Command::Completions { shell }) => cli::print_completions(shell),
        Some(Command::Man) => cli::print_man(),
        None if cli.buildinfo => cli::print_version(),
        None => serve(cli.options),
    }
}

/// The options are wrong, so nothing is known about logging yet.
#[expect(clippy::print_stderr, reason = "before logging")]
fn fault(error: &LoadError) -> ExitCode {
    for line in error.to_string().lines() {
        eprintln!("dockside: {line}");
    }
    ExitCode::from(2)
}

fn serve(config: Config) -> ExitCode {
    let logging = Logging::start(&config);
    // Two threads do: the work is waiting for the Engine, and each thread has an arena of memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| {
        let outcome = runtime.block_on(app::run(config, logging));
        // A plugin or a file that hangs must not keep the process.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
