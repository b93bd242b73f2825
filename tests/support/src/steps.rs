//! Calls that nearly every test makes, and that must succeed.

use std::time::{Duration, Instant};

use cri::{
    ContainerConfig, ContainerState, ContainerStatus, ContainerStatusRequest, CreateContainerRequest,
    ExecSyncRequest, ExecSyncResponse, ImageSpec, PodSandboxConfig, PodSandboxStatus,
    PodSandboxStatusRequest, PullImageRequest, RunPodSandboxRequest, StartContainerRequest,
};

use crate::{Cri, Env};

/// How long a container may take to end, or to say something, by itself.
const END: Duration = Duration::from_secs(30);

impl Cri {
    /// Pulls a test image of the open registry and returns its id.
    pub async fn pull(&self, name: &str) -> String {
        let request = PullImageRequest {
            image: Some(ImageSpec {
                image: Env::get().image(name),
                ..Default::default()
            }),
            ..Default::default()
        };
        let answer = self.images().pull_image(request).await;
        answer
            .unwrap_or_else(|status| panic!("pull {name}: {status}"))
            .into_inner()
            .image_ref
    }

    /// Runs a sandbox.
    pub async fn run_pod(&self, config: &PodSandboxConfig) -> String {
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            ..Default::default()
        };
        let answer = self.runtime().run_pod_sandbox(request).await;
        answer
            .unwrap_or_else(|status| panic!("run a sandbox: {status}"))
            .into_inner()
            .pod_sandbox_id
    }

    /// Creates a container.
    pub async fn create(&self, sandbox: &str, pod: &PodSandboxConfig, config: &ContainerConfig) -> String {
        self.try_create(sandbox, pod, config)
            .await
            .unwrap_or_else(|status| panic!("create a container: {status}"))
    }

    /// Creates a container, or says why not.
    pub async fn try_create(
        &self,
        sandbox: &str,
        pod: &PodSandboxConfig,
        config: &ContainerConfig,
    ) -> Result<String, tonic::Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(config.clone()),
            sandbox_config: Some(pod.clone()),
        };
        let answer = self.runtime().create_container(request).await?;
        Ok(answer.into_inner().container_id)
    }

    /// Starts a container.
    pub async fn start_container(&self, id: &str) {
        let request = StartContainerRequest {
            container_id: id.into(),
        };
        let answer = self.runtime().start_container(request).await;
        answer.unwrap_or_else(|status| panic!("start {id}: {status}"));
    }

    /// Creates a container and starts it.
    pub async fn run_container(
        &self,
        sandbox: &str,
        pod: &PodSandboxConfig,
        config: &ContainerConfig,
    ) -> String {
        let id = self.create(sandbox, pod, config).await;
        self.start_container(&id).await;
        id
    }

    /// A container's status.
    pub async fn container_status(&self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest {
            container_id: id.into(),
            verbose: false,
        };
        let answer = self.runtime().container_status(request).await;
        let answer = answer.unwrap_or_else(|status| panic!("status of {id}: {status}"));
        answer.into_inner().status.expect("an answer has a status")
    }

    /// A container's status once it has ended by itself.
    pub async fn ended(&self, id: &str) -> ContainerStatus {
        let began = Instant::now();
        loop {
            let status = self.container_status(id).await;
            if status.state() == ContainerState::ContainerExited {
                return status;
            }
            assert!(began.elapsed() < END, "container {id} does not end: {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a container has written the line `word`. A signal that is sent before a shell has set its traps is
    /// lost on a first process.
    pub async fn says(&self, id: &str, word: &str) {
        let log = self.container_status(id).await.log_path;
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if text.lines().any(|line| line.ends_with(&format!(" F {word}"))) {
                return;
            }
            assert!(
                began.elapsed() < END,
                "container {id} does not say {word:?}: {text}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A sandbox's status.
    pub async fn sandbox_status(&self, id: &str) -> PodSandboxStatus {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.into(),
            verbose: false,
        };
        let answer = self.runtime().pod_sandbox_status(request).await;
        let answer = answer.unwrap_or_else(|status| panic!("status of {id}: {status}"));
        answer.into_inner().status.expect("an answer has a status")
    }

    /// Runs a command in a container, for `timeout` seconds at most (0: as long as it takes).
    pub async fn exec(
        &self,
        id: &str,
        command: &[&str],
        timeout: i64,
    ) -> Result<ExecSyncResponse, tonic::Status> {
        let request = ExecSyncRequest {
            container_id: id.into(),
            cmd: command.iter().map(|&word| word.into()).collect(),
            timeout,
        };
        Ok(self.runtime().exec_sync(request).await?.into_inner())
    }

    /// What a shell script in a container writes, without the space around it. It must succeed.
    pub async fn sh(&self, id: &str, script: &str) -> String {
        let answer = self.exec(id, &["sh", "-c", script], 0).await;
        let answer = answer.unwrap_or_else(|status| panic!("{script}: {status}"));
        let [stdout, stderr] =
            [&answer.stdout, &answer.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!(answer.exit_code, 0, "{script}: {stdout}{stderr}");
        stdout.trim().to_owned()
    }
}
