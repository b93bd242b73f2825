//! One pod with one web server: made, looked at, removed.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use cri::{
    ContainerConfig, ContainerMetadata, ContainerState, ImageSpec, PodSandboxConfig, PodSandboxMetadata,
    PodSandboxState, PortMapping,
};
use tokio::time::sleep;

use crate::{
    calls::{Calls, call, say},
    web, write_json,
};

/// The label by which one run's pods and containers are told from everybody else's.
const LABEL: &str = "io.dockside.quickstart";

/// A web server may prepare itself this long.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

/// Seconds that a container has to end by itself.
const GRACE: i64 = 5;

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Request {
    /// Label value that names this run.
    #[arg(long)]
    run: String,
    /// The web server's image.
    #[arg(long)]
    image: String,
    /// The port that it listens on.
    #[arg(long)]
    port: u16,
    /// The port of 127.0.0.1 that leads there.
    #[arg(long)]
    host_port: u16,
    /// An existing directory for the configurations and logs.
    #[arg(long, value_name = "DIR")]
    files: PathBuf,
    /// What is run in the container once it serves.
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<String>,
}

impl Request {
    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app".to_owned(), "web".to_owned()),
            (LABEL.to_owned(), self.run.clone()),
        ])
    }

    fn pod(&self) -> PodSandboxConfig {
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: "web".into(),
                namespace: "quickstart".into(),
                uid: self.run.clone(),
                attempt: 0,
            }),
            hostname: "web".into(),
            log_directory: self.files.join("logs").display().to_string(),
            port_mappings: vec![PortMapping {
                container_port: self.port.into(),
                host_port: self.host_port.into(),
                // Only this machine is to see the page.
                host_ip: "127.0.0.1".into(),
                ..PortMapping::default()
            }],
            labels: self.labels(),
            ..PodSandboxConfig::default()
        }
    }

    fn container(&self) -> ContainerConfig {
        ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: "server".into(),
                attempt: 0,
            }),
            image: Some(ImageSpec {
                image: self.image.clone(),
                ..ImageSpec::default()
            }),
            labels: self.labels(),
            log_path: "server.log".into(),
            ..ContainerConfig::default()
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}

/// Runs the pod and looks at it. What it made before a failure stays, for `remove`.
pub(crate) async fn run(calls: &mut Calls, request: &Request) -> Result<()> {
    let (pod, container) = (request.pod(), request.container());
    let pod_file = write_json(&request.files, "pod.json", &pod)?;
    let container_file = write_json(&request.files, "container.json", &container)?;

    let message = cri::RunPodSandboxRequest {
        config: Some(pod.clone()),
        ..cri::RunPodSandboxRequest::default()
    };
    let crictl = format!("runp {}", pod_file.display());
    let pod_id = call("RunPodSandbox", &crictl, calls.runtime.run_pod_sandbox(message))
        .await?
        .pod_sandbox_id;
    say(format_args!("      pod {pod_id}"));

    let message = cri::CreateContainerRequest {
        pod_sandbox_id: pod_id.clone(),
        config: Some(container),
        sandbox_config: Some(pod),
    };
    let crictl = format!(
        "create {} {} {}",
        short(&pod_id),
        container_file.display(),
        pod_file.display()
    );
    let id = call(
        "CreateContainer",
        &crictl,
        calls.runtime.create_container(message),
    )
    .await?
    .container_id;
    say(format_args!("      container {id}"));

    let message = cri::StartContainerRequest {
        container_id: id.clone(),
    };
    let crictl = format!("start {}", short(&id));
    call("StartContainer", &crictl, calls.runtime.start_container(message)).await?;

    let address = pod_status(calls, &pod_id).await?;
    container_status(calls, &id).await?;
    page(
        calls,
        &id,
        SocketAddr::new(address, request.port),
        "the pod's address",
    )
    .await?;
    let host = SocketAddr::from(([127, 0, 0, 1], request.host_port));
    page(calls, &id, host, "the host port").await?;
    command(calls, &id, &request.command).await?;
    lists(calls, &request.run, &pod_id, &id).await
}

/// Shows the pod's status and returns its address.
async fn pod_status(calls: &mut Calls, id: &str) -> Result<std::net::IpAddr> {
    let message = cri::PodSandboxStatusRequest {
        pod_sandbox_id: id.to_owned(),
        ..cri::PodSandboxStatusRequest::default()
    };
    let crictl = format!("inspectp {}", short(id));
    let answer = call(
        "PodSandboxStatus",
        &crictl,
        calls.runtime.pod_sandbox_status(message),
    )
    .await?;
    let status = answer
        .status
        .context("PodSandboxStatus: no status in the answer")?;
    let state = status.state().as_str_name();
    let metadata = status.metadata.clone().unwrap_or_default();
    let ip = status.network.clone().unwrap_or_default().ip;
    say(format_args!(
        "      {}/{} is {state}, address {ip}",
        metadata.namespace, metadata.name
    ));
    if status.state() != PodSandboxState::SandboxReady {
        bail!("pod {id} is {state}, expected SANDBOX_READY");
    }
    ip.parse()
        .with_context(|| format!("PodSandboxStatus: pod {id} has the address {ip:?}"))
}

async fn container_state(calls: &mut Calls, id: &str) -> Result<cri::ContainerStatus> {
    let message = cri::ContainerStatusRequest {
        container_id: id.to_owned(),
        ..cri::ContainerStatusRequest::default()
    };
    let answer =
        calls.runtime.container_status(message).await.map_err(|status| {
            anyhow::anyhow!("ContainerStatus: {:?}: {}", status.code(), status.message())
        })?;
    answer
        .into_inner()
        .status
        .context("ContainerStatus: no status in the answer")
}

async fn container_status(calls: &mut Calls, id: &str) -> Result<()> {
    let status = container_state(calls, id).await?;
    say(format_args!(
        "  ContainerStatus  ($ crictl inspect {})",
        short(id)
    ));
    say(format_args!(
        "      {}, image {}",
        status.state().as_str_name(),
        status.image.unwrap_or_default().image
    ));
    Ok(())
}

/// Waits until the server answers at `address`, and shows its page.
async fn page(calls: &mut Calls, container: &str, address: SocketAddr, by: &str) -> Result<()> {
    let began = Instant::now();
    let answer = loop {
        let error = match web::get(address).await {
            Ok(answer) => break answer,
            Err(error) => error,
        };
        // Nobody will answer any more.
        let status = container_state(calls, container).await?;
        if status.state() != ContainerState::ContainerRunning {
            bail!(
                "the web server has ended: {} with exit code {}, {} {}; see docker logs {}",
                status.state().as_str_name(),
                status.exit_code,
                status.reason,
                status.message,
                short(container)
            );
        }
        if began.elapsed() > SERVES_WITHIN {
            return Err(error.context(format!(
                "the web server does not answer within {} s by {by}",
                SERVES_WITHIN.as_secs()
            )));
        }
        sleep(Duration::from_millis(100)).await;
    };
    say(format_args!("  a page by {by}  ($ curl http://{address}/)"));
    say(format_args!(
        "      {}, {} bytes: {}",
        answer.status, answer.length, answer.line
    ));
    Ok(())
}

async fn command(calls: &mut Calls, container: &str, command: &[String]) -> Result<()> {
    let message = cri::ExecSyncRequest {
        container_id: container.to_owned(),
        cmd: command.to_vec(),
        timeout: 10,
    };
    let text = command.join(" ");
    let what = format!("ExecSync {text}");
    let crictl = format!("exec --sync {} {text}", short(container));
    let answer = call(&what, &crictl, calls.runtime.exec_sync(message)).await?;
    for line in String::from_utf8_lossy(&answer.stdout).lines().take(10) {
        say(format_args!("      {line}"));
    }
    if answer.exit_code != 0 {
        bail!(
            "{what}: exit code {}: {}",
            answer.exit_code,
            String::from_utf8_lossy(&answer.stderr).trim()
        );
    }
    Ok(())
}

fn of_run(run: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL.to_owned(), run.to_owned())])
}

async fn pods(calls: &mut Calls, run: &str) -> Result<Vec<cri::PodSandbox>> {
    let message = cri::ListPodSandboxRequest {
        filter: Some(cri::PodSandboxFilter {
            label_selector: of_run(run),
            ..cri::PodSandboxFilter::default()
        }),
    };
    let crictl = format!("pods --label {LABEL}={run}");
    let answer = call("ListPodSandbox", &crictl, calls.runtime.list_pod_sandbox(message)).await?;
    Ok(answer.items)
}

async fn containers(calls: &mut Calls, run: &str) -> Result<Vec<cri::Container>> {
    let message = cri::ListContainersRequest {
        filter: Some(cri::ContainerFilter {
            label_selector: of_run(run),
            ..cri::ContainerFilter::default()
        }),
    };
    let crictl = format!("ps --all --label {LABEL}={run}");
    let answer = call("ListContainers", &crictl, calls.runtime.list_containers(message)).await?;
    Ok(answer.containers)
}

/// Shows the lists' entries, which must be the pod and the container alone.
async fn lists(calls: &mut Calls, run: &str, pod: &str, container: &str) -> Result<()> {
    let pods = pods(calls, run).await?;
    for pod in &pods {
        say(format_args!(
            "      {} {} {}",
            short(&pod.id),
            pod.metadata.clone().unwrap_or_default().name,
            pod.state().as_str_name()
        ));
    }
    let containers = containers(calls, run).await?;
    for container in &containers {
        say(format_args!(
            "      {} {} {} in pod {}",
            short(&container.id),
            container.metadata.clone().unwrap_or_default().name,
            container.state().as_str_name(),
            short(&container.pod_sandbox_id)
        ));
    }
    if !matches!(&*pods, [one] if one.id == pod) {
        bail!("ListPodSandbox: expected pod {pod} alone");
    }
    if !matches!(&*containers, [one] if one.id == container && one.pod_sandbox_id == pod) {
        bail!("ListContainers: expected container {container} alone");
    }
    Ok(())
}

/// Stops and removes what one run made. Nothing there is no error.
pub(crate) async fn remove(calls: &mut Calls, run: &str) -> Result<()> {
    for container in containers(calls, run).await? {
        let (id, crictl) = (container.id.clone(), short(&container.id));
        let message = cri::StopContainerRequest {
            container_id: id.clone(),
            timeout: GRACE,
        };
        let stop = format!("stop --timeout {GRACE} {crictl}");
        call("StopContainer", &stop, calls.runtime.stop_container(message)).await?;
        let message = cri::RemoveContainerRequest { container_id: id };
        let rm = format!("rm {crictl}");
        call("RemoveContainer", &rm, calls.runtime.remove_container(message)).await?;
    }
    for pod in pods(calls, run).await? {
        let (id, crictl) = (pod.id.clone(), short(&pod.id));
        let message = cri::StopPodSandboxRequest {
            pod_sandbox_id: id.clone(),
        };
        let stop = format!("stopp {crictl}");
        call("StopPodSandbox", &stop, calls.runtime.stop_pod_sandbox(message)).await?;
        let message = cri::RemovePodSandboxRequest { pod_sandbox_id: id };
        let rmp = format!("rmp {crictl}");
        call(
            "RemovePodSandbox",
            &rmp,
            calls.runtime.remove_pod_sandbox(message),
        )
        .await?;
    }
    let left = pods(calls, run).await?.len();
    if left != 0 {
        bail!("{left} pods are left after their removal");
    }
    Ok(())
}
