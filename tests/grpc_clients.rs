//! The gRPC transport against a client of another make, Python's grpcio: as it is, and with the authorities that
//! other versions and libraries derive from the path (grpcio 1.51 names a legal one by itself, 1.85 does not).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cri::{
    VersionRequest, VersionResponse,
    runtime_service_server::{RuntimeService, RuntimeServiceServer},
};
use dockside::grpc::listen::{Ending, Endpoint, Listeners, serve};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::Command,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Request, Response, Status, service::Routes, transport::server::UdsConnectInfo};

/// Answers `Version`, after `delay`, and looks at who asks.
#[derive(Clone, Default)]
struct Fixed {
    delay: Duration,
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl RuntimeService for Fixed {
    async fn version(&self, request: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        let peer = request
            .extensions()
            .get::<UdsConnectInfo>()
            .and_then(|info| info.peer_cred);
        let peer = peer.ok_or_else(|| Status::internal("no credentials of the peer"))?;
        if peer.pid().is_none_or(|pid| pid <= 0) || request.get_ref().version != "0." {
            return Err(Status::internal(format!("{peer:?} {request:?}")));
        }
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

/// The message of `Fixed`, written by hand: fields 1 and 2.
const ANSWER: &str = "0a05302e312e301206646f636b6572";

struct Server {
    scratch: TempDir,
    stop: oneshot::Sender<()>,
    ending: JoinHandle<Ending>,
}

impl Server {
    async fn start(fixed: Fixed, sockets: &[&str], grace: Duration) -> Self {
        let scratch = TempDir::new().unwrap();
        let endpoint = |name: &&str| Endpoint::Path(scratch.path().join(name));
        let endpoints: Vec<_> = sockets.iter().map(endpoint).collect();
        let listeners = Listeners::bind(&endpoints).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let routes = Routes::new(RuntimeServiceServer::new(fixed));
        let serving = serve(listeners, routes, async { stopped.await.unwrap() }, grace);
        let ending = tokio::spawn(async { serving.await.unwrap() });
        Self {
            scratch,
            stop,
            ending,
        }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    async fn stop(self) -> (Ending, Vec<PathBuf>) {
        self.stop.send(()).unwrap();
        let ending = timeout(Duration::from_secs(20), self.ending)
            .await
            .expect("it ends")
            .unwrap();
        let left = self.scratch.path().read_dir().unwrap();
        (ending, left.map(|entry| entry.unwrap().path()).collect())
    }
}

fn python(target: &str, connections: u32, calls: u32) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/version.py");
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

async fn asks(target: &str, connections: u32, calls: u32) {
    let output = python(target, connections, calls)
        .output()
        .await
        .expect("python3 runs");
    answered(&output);
}

#[track_caller]
fn answered(output: &Output) {
    assert!(output.status.success(), "{output:?} (python3-grpcio is needed)");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        ANSWER,
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn python_is_served_in_its_default_settings() {
    let fixed = Fixed::default();
    let server = Server::start(fixed.clone(), &["one.sock", "two.sock"], Duration::from_secs(10)).await;
    asks(&format!("unix:{}", server.socket("one.sock").display()), 5, 200).await;
    asks(
        &format!("unix://{}", server.socket("two.sock").display()),
        1,
        1000,
    )
    .await;
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 2000);
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_made_of_a_path_are_served() {
    let fixed = Fixed::default();
    let server = Server::start(fixed.clone(), &["x.sock"], Duration::from_secs(10)).await;
    let target = format!("unix:{}", server.socket("x.sock").display());
    for authority in [
        "/var/run/x.sock",
        "%2Fvar%2Frun%2Fx.sock",
        "unix:///var/run/x.sock",
        "a:b:c",
    ] {
        let output = python(&target, 3, 50).arg(authority).output().await.unwrap();
        answered(&output);
    }
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 600);
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_answered_at_shutdown() {
    let fixed = Fixed {
        delay: Duration::from_millis(1500),
        ..Default::default()
    };
    let server = Server::start(fixed.clone(), &["x.sock"], Duration::from_secs(10)).await;
    let target = format!("unix:{}", server.socket("x.sock").display());
    let client = python(&target, 1, 1).spawn().unwrap();
    until(|| fixed.begun.load(Ordering::SeqCst) == 1).await;
    let socket = server.socket("x.sock");
    let stopping = tokio::spawn(server.stop());
    sleep(Duration::from_millis(300)).await;
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 0, "still under way");
    assert!(
        UnixStream::connect(&socket).await.is_err(),
        "nobody is accepted any more"
    );
    assert_eq!(stopping.await.unwrap(), (Ending::Complete, vec![]));
    assert_eq!(fixed.ended.load(Ordering::SeqCst), 1);
    answered(&client.wait_with_output().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_is_cut_off_after_the_grace() {
    let fixed = Fixed {
        delay: Duration::from_secs(600),
        ..Default::default()
    };
    let server = Server::start(fixed.clone(), &["x.sock"], Duration::from_millis(300)).await;
    let _client = python(&format!("unix:{}", server.socket("x.sock").display()), 1, 1)
        .spawn()
        .unwrap();
    until(|| fixed.begun.load(Ordering::SeqCst) == 1).await;
    let started = Instant::now();
    assert_eq!(server.stop().await, (Ending::CutOff, vec![]));
    assert!((300..5000).contains(&started.elapsed().as_millis()));
}

async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it comes to that");
}

/// Garbage on one connection is that connection's affair.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_harms_nobody_else() {
    let server = Server::start(Fixed::default(), &["x.sock"], Duration::from_secs(10)).await;
    let socket = server.socket("x.sock");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [preface, &[0xff; 4000]].concat(),
        [
            preface,
            b"\0\0\0\x04\0\0\0\0\0",
            b"\0\0\x04\x01\x05\0\0\0\x01\x41\x7f\xff\xff",
        ]
        .concat(),
    ] {
        let mut client = UnixStream::connect(&socket).await.unwrap();
        let _ = client.write_all(&garbage).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(10), client.read_to_end(&mut answer))
            .await
            .expect("it is closed");
    }
    asks(&format!("unix:{}", socket.display()), 1, 1).await;
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}

/// A process that runs out of file descriptors waits for some, without spinning, and goes on.
#[test]
fn running_out_of_descriptors_is_survived() {
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", "ulimit -S -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "out_of_descriptors"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

const HOLD: &str = "
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (400, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = [socket.socket(socket.AF_UNIX) for _ in range(100)]
for one in held: one.connect(sys.argv[1])
print('held', flush=True)
sys.stdin.readline()
";

fn descriptors() -> usize {
    Path::new("/proc/self/fd")
        .read_dir()
        .map_or(usize::MAX, Iterator::count)
}

/// Processor time of this process, in ticks of 10 ms.
fn ticks(stat: &str) -> u64 {
    stat.rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, with few descriptors"]
async fn out_of_descriptors() {
    let server = Server::start(Fixed::default(), &["x.sock"], Duration::from_secs(10)).await;
    let mut stat = std::fs::File::open("/proc/self/stat").unwrap();
    let mut used = || {
        let mut text = String::new();
        std::io::Seek::rewind(&mut stat).unwrap();
        std::io::Read::read_to_string(&mut stat, &mut text).unwrap();
        ticks(&text)
    };
    let mut holder = Command::new("/usr/bin/python3")
        .args(["-c", HOLD])
        .arg(server.socket("x.sock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    holder.stdout.take().unwrap().read_exact(&mut said).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(descriptors(), usize::MAX, "none is left");
    let before = used();
    sleep(Duration::from_secs(1)).await;
    assert!(used() - before < 20, "it spins");
    drop(holder.stdin.take());
    assert!(holder.wait().await.unwrap().success());
    until(|| descriptors() <= 32).await;
    asks(&format!("unix:{}", server.socket("x.sock").display()), 1, 10).await;
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}
