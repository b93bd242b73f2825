//! The doctor beside a real Engine; made-up nodes are its unit tests'.

use std::process::Command;

use serde_json::Value;
use support::Env;

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_what_the_engine_says() {
    let _alone = super::ALONE.lock().await;
    let env = Env::get();
    support::daemon!().start().await.pull("pause:3.10").await;
    let output = Command::new(env!("CARGO_BIN_EXE_dockside"))
        .arg(format!("--docker-endpoint=unix://{}", env.engine.display()))
        .arg(format!("--pod-infra-container-image={}", env.pause))
        .args(["--config=/dev/null", "doctor", "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = |check: &str| {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["check"] == check);
        found
            .unwrap_or_else(|| panic!("no {check} in {report:#}"))
            .clone()
    };
    assert_eq!(finding("engine")["severity"], "ok");
    assert_eq!(finding("pause-image")["severity"], "ok");
    assert_eq!(finding("engine-data")["severity"], "ok");
    let status = match report["worst"].as_str().unwrap() {
        "warning" => 1,
        "error" => 2,
        _ => 0,
    };
    assert_eq!(output.status.code(), Some(status));
}

#[test]
fn an_engine_that_is_not_there_is_said_with_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_dockside"))
        .args([
            "--docker-endpoint=/nonexistent/docker.sock",
            "--config=/dev/null",
            "doctor",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let line = text.lines().next().unwrap();
    assert!(
        line.starts_with("ERROR") && line.contains("unix:///nonexistent/docker.sock"),
        "{text}"
    );
    assert!(text.contains("fix: systemctl enable --now docker"), "{text}");
}
