//! The registry credentials of this host, for the pause image: nobody sends any along with that.

use std::{env, path::PathBuf, process::Stdio, time::Duration};

use tokio::{fs, io::AsyncWriteExt, process::Command, time::timeout};
use tracing::warn;
use translate::image::{HostCredentials, RegistryAuth, helper_answer, host_credentials};

/// How long a credential helper may take.
const HELPER: Duration = Duration::from_secs(30);

/// The first credentials for `registry` that one of the host's Docker configurations has.
pub(super) async fn find(registry: &str) -> Option<RegistryAuth> {
    for file in files() {
        let Ok(text) = fs::read_to_string(&file).await else {
            continue;
        };
        let found = match host_credentials(&text, registry) {
            Ok(HostCredentials::Absent) => Ok(None),
            Ok(HostCredentials::Inline(auth)) => Ok(Some(auth)),
            Ok(HostCredentials::Helper { program, server }) => ask(&program, &server, registry).await,
            Err(error) => Err(error.to_string()),
        };
        match found {
            Ok(None) => {}
            Ok(auth) => return auth,
            Err(error) => warn!(file = %file.display(), "cannot use the registry credentials: {error}"),
        }
    }
    None
}

/// The places where the kubelet and the docker client look.
fn files() -> Vec<PathBuf> {
    let configured = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let directories = [
        Some(PathBuf::from("/var/lib/kubelet")),
        configured,
        home,
        Some(PathBuf::from("/root/.docker")),
    ];
    directories
        .into_iter()
        .flatten()
        .map(|directory| directory.join("config.json"))
        .collect()
}

async fn ask(program: &str, server: &str, registry: &str) -> Result<Option<RegistryAuth>, String> {
    let run = async {
        let mut child = Command::new(program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(server.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = timeout(HELPER, run)
        .await
        .map_err(|_| format!("{program} did not answer within {HELPER:?}"))?
        .map_err(|error| format!("run {program}: {error}"))?;
    helper_answer(&String::from_utf8_lossy(&output.stdout), registry).map_err(|error| error.to_string())
}
