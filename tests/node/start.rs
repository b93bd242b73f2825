//! Starts that cannot succeed say what to do.

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use support::{Daemon, Env};

fn start(daemon: &Daemon, flags: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dockside"))
        .arg(format!(
            "--docker-endpoint=unix://{}",
            Env::get().engine.display()
        ))
        .arg(format!(
            "--root-directory={}",
            daemon.dir().join("other").display()
        ))
        .arg(format!(
            "--container-runtime-endpoint=unix://{}.2",
            daemon.socket().display()
        ))
        .args(["--network-plugin=docker", "--config=/dev/null"])
        .args(flags)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_named_with_what_to_do() {
    let _alone = super::ALONE.lock().await;
    let daemon = support::daemon!().start().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let _listener = TcpListener::bind(taken);
    let pid = daemon.pid();
    let cases = [
        (
            format!("--root-directory={}", daemon.dir().join("root").display()),
            format!("another dockside (pid {pid}) works with"),
        ),
        (
            format!(
                "--container-runtime-endpoint=unix://{}",
                daemon.socket().display()
            ),
            format!("dockside (pid {pid}) serves it; stop it"),
        ),
        (
            format!("--streaming-bind-addr={taken}"),
            "choose another --streaming-bind-addr".to_owned(),
        ),
    ];
    for (flag, expected) in cases {
        let output = start(&daemon, std::slice::from_ref(&flag));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{flag}: {text}");
        assert!(text.contains(&expected), "{flag}: {text}");
    }
}
