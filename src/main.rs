//! The dockside program: options, logging, the runtime; the rest is in the library.

use std::process::ExitCode;

use clap::Parser;
use dockside::{app, config::Config, logging};

fn main() -> ExitCode {
    let config = Config::parse();
    if config.buildinfo {
        return config.print_buildinfo();
    }
    logging::start(&config);
    // Two threads do: the work is waiting for the Engine, and each thread has an arena of memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| {
        let outcome = runtime.block_on(app::run(config));
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
