//! Clients of another make, Python's grpcio: as it is, and with the authorities that other versions and libraries
//! derive from the path (grpcio 1.51 names a legal one by itself, 1.85 does not). And clients that misbehave.

use std::{path::Path, process::Stdio, sync::atomic::Ordering, time::Duration};

use dockside::grpc::listen::Ending;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::Command,
    time::{sleep, timeout},
};

use crate::server::{Fixed, NO_SETTINGS, PATIENCE, PREFACE, Server, answered, asks, python, until};

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

/// Garbage on one connection is that connection's affair.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_harms_nobody_else() {
    let server = Server::start(Fixed::default(), &["x.sock"], Duration::from_secs(10)).await;
    let socket = server.socket("x.sock");
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [PREFACE, &[0xff; 4000]].concat(),
        [
            PREFACE,
            NO_SETTINGS,
            b"\0\0\x04\x01\x05\0\0\0\x01\x41\x7f\xff\xff",
        ]
        .concat(),
    ] {
        let mut client = UnixStream::connect(&socket).await.unwrap();
        let _ = client.write_all(&garbage).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, client.read_to_end(&mut answer))
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
        .args(["--exact", "--ignored", "clients::out_of_descriptors"])
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
    // None is left.
    until(|| descriptors() == usize::MAX).await;
    let before = used();
    sleep(Duration::from_secs(1)).await;
    assert!(used() - before < 20, "it spins");
    drop(holder.stdin.take());
    assert!(holder.wait().await.unwrap().success());
    until(|| descriptors() <= 32).await;
    asks(&format!("unix:{}", server.socket("x.sock").display()), 1, 10).await;
    assert_eq!(server.stop().await, (Ending::Complete, vec![]));
}
