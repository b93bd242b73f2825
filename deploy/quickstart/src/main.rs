//! The CRI client of `deploy/quickstart.sh`: runs one pod with a web server, looks at it, removes it.
//!
//! It says what it calls, what came back, and which `crictl` command does the same, for a machine that
//! has no `crictl` yet.

mod calls;
mod pod;
mod web;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::calls::Calls;

/// Exit status of `pull` when the registry could not be reached: the script then makes an image.
const NO_REGISTRY: u8 = 3;

/// The CRI client of deploy/quickstart.sh.
#[derive(Debug, Parser)]
#[command(name = "quickstart")]
struct Options {
    /// Where dockside serves CRI: unix:///path.
    #[arg(
        long,
        value_name = "ENDPOINT",
        default_value = "unix:///var/run/cri-dockerd.sock"
    )]
    endpoint: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Wait until dockside is ready for pods.
    Ready,
    /// Pull an image; ends with status 3 if its registry cannot be reached.
    Pull {
        /// The image.
        image: String,
    },
    /// Run a pod with a web server, and look at it from all sides.
    Run(pod::Request),
    /// Stop and remove the pods that `run` made.
    Remove {
        /// Label value of the pods.
        #[arg(long)]
        run: String,
    },
    /// Remove an image.
    RemoveImage {
        /// The image.
        image: String,
    },
    /// Print the port if 127.0.0.1 can be listened on at it; without one, find one.
    Port {
        /// The port.
        port: Option<u16>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            if error.is::<calls::NoRegistry>() {
                return NO_REGISTRY.into();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    if let Action::Port { port } = options.action {
        calls::say(web::free_port(port)?);
        return Ok(());
    }
    let mut calls = Calls::connect(&options.endpoint)
        .await
        .with_context(|| format!("connect to dockside at {}", options.endpoint))?;
    match options.action {
        Action::Ready => calls.ready().await,
        Action::Pull { image } => calls.pull(&image).await,
        Action::Run(request) => pod::run(&mut calls, &request).await,
        Action::Remove { run } => pod::remove(&mut calls, &run).await,
        Action::RemoveImage { image } => calls.remove_image(&image).await,
        Action::Port { .. } => Ok(()),
    }
}

/// Writes what `crictl` may be given.
fn write_json(directory: &Path, name: &str, value: &impl serde::Serialize) -> Result<PathBuf> {
    let path = directory.join(name);
    let text = serde_json::to_string_pretty(value).with_context(|| format!("write {name} as JSON"))?;
    std::fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
