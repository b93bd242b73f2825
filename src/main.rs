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
        Some(Command::Doctor { json, root }) => {
            run(|| async { Ok(cli::print_findings(&cli.options, json, root).await) })
        }
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
    run(|| async { app::run(config, logging).await.map(|()| ExitCode::SUCCESS) })
}

fn run<F: Future<Output = anyhow::Result<ExitCode>>>(work: impl FnOnce() -> F) -> ExitCode {
    // Two threads do: the work is waiting for the Engine, and each thread has an arena of memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| {
        let outcome = runtime.block_on(work());
        // A plugin or a file that hangs must not keep the process.
        runtime.shutdown_background();
        outcome
    });
    outcome.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}
