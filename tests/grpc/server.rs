//! What is tested: the transport with a service that answers `Version`, and its clients.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cri::{
    VersionRequest, VersionResponse,
    runtime_service_server::{RuntimeService, RuntimeServiceServer},
};
use dockside::grpc::listen::{Ending, Endpoint, Listeners, serve};
use tempfile::TempDir;
use tokio::{
    net::UnixStream,
    process::Command,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{
    Request, Response, Status,
    codegen::{Bytes, http},
    service::Routes,
};

/// How long what comes about by itself may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Answers `Version`, after `delay`, and counts.
#[derive(Clone, Default)]
pub(crate) struct Fixed {
    pub(crate) delay: Duration,
    pub(crate) begun: Arc<AtomicUsize>,
    pub(crate) ended: Arc<AtomicUsize>,
    /// Calls that ended, or whose future was dropped.
    pub(crate) gone: Arc<AtomicUsize>,
}

impl Fixed {
    pub(crate) fn slow(delay: Duration) -> Self {
        Self {
            delay,
            ..Default::default()
        }
    }
}

struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl RuntimeService for Fixed {
    async fn version(&self, request: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        if request.get_ref().version != "0." {
            return Err(Status::internal(format!("{request:?}")));
        }
        let _gone = Gone(Arc::clone(&self.gone));
        self.begun.fetch_add(1, Ordering::SeqCst);
        sleep(self.delay).await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "docker".into(),
            ..Default::default()
        }))
    }
}

/// The message that `Fixed` is asked with, in its frame.
pub(crate) const QUESTION: &[u8] = b"\0\0\0\0\x04\x0a\x020.";

/// The message of `Fixed`, written by hand: fields 1 and 2.
const ANSWER: &str = "0a05302e312e301206646f636b6572";

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const NO_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

pub(crate) struct Server {
    scratch: TempDir,
    stop: oneshot::Sender<()>,
    ending: JoinHandle<Ending>,
}

impl Server {
    pub(crate) async fn start(fixed: Fixed, sockets: &[&str], grace: Duration) -> Self {
        let scratch = TempDir::new().unwrap();
        let endpoint = |name: &&str| Endpoint::Path(scratch.path().join(name));
        let endpoints: Vec<_> = sockets.iter().map(endpoint).collect();
        let listeners = Listeners::bind(&endpoints).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let routes = Routes::new(RuntimeServiceServer::new(fixed));
        let serving = serve(listeners, routes, async { stopped.await.unwrap() }, grace);
        let ending = tokio::spawn(serving);
        Self {
            scratch,
            stop,
            ending,
        }
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Ends it. Says how, and which files are left.
    pub(crate) async fn stop(self) -> (Ending, Vec<PathBuf>) {
        self.stop.send(()).unwrap();
        let ending = timeout(PATIENCE, self.ending).await.expect("it ends").unwrap();
        let left = self.scratch.path().read_dir().unwrap();
        (ending, left.map(|entry| entry.unwrap().path()).collect())
    }
}

pub(crate) fn python(target: &str, connections: u32, calls: u32) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/version.py");
    let mut command = Command::new("/usr/bin/python3");
    command
        .arg(script)
        .arg(target)
        .arg(connections.to_string())
        .arg(calls.to_string());
    command
        .env_remove("GRPC_VERBOSITY")
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) async fn asks(target: &str, connections: u32, calls: u32) {
    let output = python(target, connections, calls)
        .output()
        .await
        .expect("python3 runs");
    answered(&output);
}

#[track_caller]
pub(crate) fn answered(output: &Output) {
    assert!(output.status.success(), "{output:?} (python3-grpcio is needed)");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        ANSWER,
        "{output:?}"
    );
}

pub(crate) async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it comes to that");
}

/// A client that keeps no deadline itself, and shows the answer as it came.
pub(crate) struct Client {
    requests: h2::client::SendRequest<Bytes>,
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

/// The status, and the message that came with it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: String,
    pub(crate) message: String,
    /// All in one frame, nothing after it.
    pub(crate) trailers_only: bool,
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    /// Asks for the version, with that `grpc-timeout`.
    pub(crate) fn call(&mut self, patience: Option<&str>) -> impl Future<Output = Answer> + Send + use<> {
        let mut request = http::Request::post("http://localhost/runtime.v1.RuntimeService/Version")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(patience) = patience {
            request = request.header("grpc-timeout", patience);
        }
        let mut requests = self.requests.clone();
        async move {
            std::future::poll_fn(|cx| requests.poll_ready(cx)).await.unwrap();
            let (answer, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
            // The server may answer without reading it.
            let _ = body.send_data(Bytes::from_static(QUESTION), true);
            let (head, mut body) = answer.await.unwrap().into_parts();
            assert_eq!(head.status, 200);
            assert_eq!(head.headers["content-type"], "application/grpc");
            let trailers_only = body.is_end_stream();
            while let Some(data) = body.data().await {
                let size = data.unwrap().len();
                body.flow_control().release_capacity(size).unwrap();
            }
            let headers = body.trailers().await.unwrap().unwrap_or(head.headers);
            let text = |name: &str| {
                headers
                    .get(name)
                    .map_or("", |value| value.to_str().unwrap())
                    .to_owned()
            };
            Answer {
                code: text("grpc-status"),
                message: text("grpc-message"),
                trailers_only,
            }
        }
    }
}
