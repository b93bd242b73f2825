#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, symlink},
        net::{UnixDatagram, UnixListener as StdListener},
    },
    process::Command,
};

use tempfile::TempDir;
use tokio::net::UnixStream;

use super::*;

fn at(path: &Path) -> Endpoint {
    Endpoint::Path(path.into())
}

async fn refused(path: &Path) -> String {
    let error = Listeners::bind(&[at(path)]).await.unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "names the path: {error}");
    error
}

fn entries(directory: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(directory).unwrap().map(name).collect()
}

#[test]
fn endpoints_are_read() {
    for good in ["unix:///run/x.sock", "unix:/run/x.sock", "/run/x.sock"] {
        let endpoint: Endpoint = good.parse().unwrap();
        assert_eq!(endpoint, at(Path::new("/run/x.sock")));
        assert_eq!(endpoint.to_string(), "unix:///run/x.sock");
    }
    assert_eq!("fd://".parse::<Endpoint>().unwrap(), Endpoint::Activation);
    assert_eq!(Endpoint::Activation.to_string(), "fd://");
    let cases = [
        ("", "absolute"),
        ("unix://", "absolute"),
        ("unix://run/x.sock", "absolute"),
        ("x.sock", "absolute"),
        ("@x", "absolute"),
        ("unix:///", "directory"),
        ("/run/", "directory"),
        ("/run/..", "directory"),
        ("/run/a\0b", "zero byte"),
        ("tcp://127.0.0.1:1", "only unix"),
        ("npipe:////./pipe/x", "only unix"),
        ("fd://4", "all of them"),
    ];
    for (bad, reason) in cases {
        let error = bad.parse::<Endpoint>().unwrap_err().to_string();
        assert!(
            error.contains(reason) && error.contains(&format!("`{bad}`")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn sockets_are_made_and_removed() {
    let scratch = TempDir::new().unwrap();
    let (one, two) = (
        scratch.path().join("a/b/one.sock"),
        scratch.path().join("two.sock"),
    );
    let listeners = Listeners::bind(&[at(&one), at(&two)]).await.unwrap();
    for path in [&one, &two] {
        let found = fs::symlink_metadata(path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o7777, 0o660);
        UnixStream::connect(path).await.unwrap();
    }
    assert_eq!(
        entries(&scratch.path().join("a/b")),
        ["one.sock"],
        "no temporary name stays"
    );
    assert!(listeners.names().eq([
        format!("unix://{}", one.display()),
        format!("unix://{}", two.display())
    ]));
    drop(listeners);
    assert!(!one.exists() && !two.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("x.sock");
    drop(StdListener::bind(&path).unwrap());
    // What a crash between bind and rename leaves.
    drop(StdListener::bind(scratch.path().join("x.sock~")).unwrap());
    let listeners = Listeners::bind(&[at(&path)]).await.unwrap();
    assert_eq!(entries(scratch.path()), ["x.sock"]);
    let error = refused(&path).await;
    assert!(
        error.contains(&format!("(pid {}) serves it; stop it", std::process::id())),
        "{error}"
    );
    UnixStream::connect(&path)
        .await
        .expect("the first one still serves");
    drop(listeners);
    Listeners::bind(&[at(&path)]).await.expect("free again");
}

#[tokio::test]
async fn a_hanging_server_counts_as_alive() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("x.sock");
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let _listener = socket.listen(0).unwrap();
    let _first = UnixStream::connect(&path).await.unwrap();
    assert!(refused(&path).await.contains("another process serves it"));
    assert!(path.exists());
}

#[tokio::test]
async fn what_is_no_stream_socket_stays() {
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "data").unwrap();
    assert!(refused(&file).await.contains("is a file"));
    assert_eq!(fs::read(&file).unwrap(), b"data");
    let directory = scratch.path().join("directory");
    fs::create_dir(&directory).unwrap();
    assert!(refused(&directory).await.contains("is a directory"));
    let link = scratch.path().join("link");
    symlink("nowhere", &link).unwrap();
    assert!(refused(&link).await.contains("is a symbolic link"));
    let datagram = scratch.path().join("datagram");
    let _bound = UnixDatagram::bind(&datagram).unwrap();
    assert!(refused(&datagram).await.contains("cannot find out"));
    assert!(refused(&file.join("x.sock")).await.contains("make its directory"));
}

#[tokio::test]
async fn long_paths_are_refused_by_their_length() {
    let scratch = TempDir::new().unwrap();
    let room = 106 - scratch.path().as_os_str().len() - 1;
    let error = refused(&scratch.path().join("x".repeat(room + 1))).await;
    assert!(error.contains("107 bytes long, the limit is 106"), "{error}");
    let longest = scratch.path().join("x".repeat(room));
    let _listeners = Listeners::bind(&[at(&longest)]).await.unwrap();
    UnixStream::connect(&longest).await.unwrap();
}

#[tokio::test]
async fn all_or_nothing() {
    let scratch = TempDir::new().unwrap();
    let (real, alias) = (scratch.path().join("real"), scratch.path().join("alias"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &alias).unwrap();
    let endpoints = [at(&real.join("x.sock")), at(&alias.join("x.sock"))];
    let error = Listeners::bind(&endpoints).await.unwrap_err().to_string();
    assert!(
        error.contains("alias/x.sock: given twice, also as") && error.contains("real/x.sock"),
        "{error}"
    );
    assert!(entries(&real).is_empty(), "the first is gone again");
    assert!(matches!(Listeners::bind(&[]).await, Err(ListenError::NoEndpoint)));
}

#[tokio::test]
async fn the_socket_of_a_successor_stays() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("x.sock");
    let listeners = Listeners::bind(&[at(&path)]).await.unwrap();
    fs::remove_file(&path).unwrap();
    let successor = Listeners::bind(&[at(&path)]).await.unwrap();
    drop(listeners);
    UnixStream::connect(&path).await.expect("not ours to remove");
    drop(successor);
    assert!(!path.exists());
}

#[tokio::test]
async fn one_of_many_starters_wins() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("x.sock");
    drop(StdListener::bind(&path).unwrap());
    let starters: Vec<_> = (0..8)
        .map(|_| {
            let endpoint = at(&path);
            tokio::spawn(async move { Listeners::bind(&[endpoint]).await })
        })
        .collect();
    let mut won = Vec::new();
    for starter in starters {
        match starter.await.unwrap() {
            Ok(listeners) => won.push(listeners),
            Err(error) => assert!(matches!(error, ListenError::Served { .. }), "{error}"),
        }
    }
    assert_eq!(won.len(), 1);
}

#[tokio::test]
async fn a_locked_directory_is_an_error_in_the_end() {
    let scratch = TempDir::new().unwrap();
    let other = fs::File::open(scratch.path()).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(
        refused(&scratch.path().join("x.sock"))
            .await
            .contains("keeps its directory locked")
    );
}

/// Runs a test of this binary as the program that systemd starts, with `script` in systemd's place.
fn activate(script: &str, test: &str, scratch: &Path) {
    let output = Command::new("/usr/bin/python3")
        .args([
            "-c",
            &format!("{ACTIVATE}{script}{EXECUTE}"),
            scratch.to_str().unwrap(),
        ])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            &format!("grpc::listen::tests::{test}"),
        ])
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

const ACTIVATE: &str = "
import os, socket, sys
def listener(name):
    s = socket.socket(socket.AF_UNIX); s.bind(os.path.join(sys.argv[1], name)); s.listen(5); return s
";
const EXECUTE: &str = "
kept = [os.dup(s.fileno()) for s in sockets]
for at, s in enumerate(kept):
    os.dup2(s, 3 + at, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(kept)), LISTEN_PID=str(os.getpid()), SCRATCH=sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
fn sockets_of_systemd_are_taken() {
    let scratch = TempDir::new().unwrap();
    activate(
        "sockets = [listener('a.sock'), listener('b.sock')]",
        "activated_with_two",
        scratch.path(),
    );
    assert!(scratch.path().join("a.sock").exists(), "systemd's socket stays");
}

#[tokio::test]
#[ignore = "run by the test above, with the sockets it needs"]
async fn activated_with_two() {
    let scratch = PathBuf::from(std::env::var_os("SCRATCH").unwrap());
    let listeners = Listeners::bind(&[Endpoint::Activation]).await.unwrap();
    let expected =
        ["a.sock", "b.sock"].map(|name| format!("unix://{}/{name} (from systemd)", scratch.display()));
    assert!(listeners.names().eq(expected));
    let _client = UnixStream::connect(scratch.join("b.sock")).await.unwrap();
    listeners.bound[1].listener.accept().await.unwrap();
    assert!(matches!(
        Listeners::bind(&[Endpoint::Activation]).await,
        Err(ListenError::NotActivated)
    ));
}

#[test]
fn a_path_that_systemd_listens_on_is_served_by_its_socket() {
    let scratch = TempDir::new().unwrap();
    activate(
        "sockets = [listener('a.sock'), listener('b.sock')]; os.symlink(sys.argv[1], sys.argv[1] + '/link')",
        "activated_at_a_path",
        scratch.path(),
    );
}

#[tokio::test]
#[ignore = "run by the test above, with the sockets it needs"]
async fn activated_at_a_path() {
    let scratch = PathBuf::from(std::env::var_os("SCRATCH").unwrap());
    let own = scratch.join("c.sock");
    let endpoints = [scratch.join("link/a.sock"), own.clone()].map(Endpoint::Path);
    let listeners = Listeners::bind(&endpoints).await.unwrap();
    assert_eq!(
        listeners.names().count(),
        3,
        "both of systemd's, and one made here"
    );
    let _client = UnixStream::connect(scratch.join("a.sock")).await.unwrap();
    listeners.bound[0].listener.accept().await.unwrap();
    drop(listeners);
    assert!(!own.exists() && scratch.join("a.sock").exists());
}

#[test]
fn connections_of_systemd_are_refused() {
    let scratch = TempDir::new().unwrap();
    activate(
        "sockets = list(socket.socketpair())",
        "activated_with_connections",
        scratch.path(),
    );
}

#[tokio::test]
#[ignore = "run by the test above, with the sockets it needs"]
async fn activated_with_connections() {
    let error = Listeners::bind(&[Endpoint::Activation])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("socket 0 from systemd") && error.contains("does not listen"),
        "{error}"
    );
}

#[tokio::test]
async fn no_systemd_is_said_clearly() {
    let error = Listeners::bind(&[Endpoint::Activation])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("systemd passed no sockets"), "{error}");
}
