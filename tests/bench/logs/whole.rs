//! Whether lines come in time, and all of them, once and in order.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cri::ReopenContainerLogRequest;

use crate::{
    LINE,
    node::{Node, Way},
};

/// Lines whose latency is measured.
const SAMPLES: usize = 10_000;

/// The time from the Engine's stamp to when a reader finds the line, at 1000 lines a second in bursts of ten.
pub(crate) async fn latency(node: &mut Node) {
    let script = "while :; do for i in 0 1 2 3 4 5 6 7 8 9; do echo $i; done; sleep 0.0095; done";
    let ready = node.create(Way::Dockside, "latency", 1, script).await;
    node.start(&ready).await;
    let mut file = File::open(node.log("latency-0")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    file.seek(SeekFrom::End(0)).unwrap();
    let (mut late, mut rest, began) = (Vec::new(), Vec::new(), Instant::now());
    while late.len() < SAMPLES {
        file.read_to_end(&mut rest).unwrap();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
            % 86400.0;
        let whole = rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        for line in rest[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            late.push((now - second_of_day(line)).rem_euclid(86400.0));
        }
        rest.drain(..whole);
        std::thread::sleep(Duration::from_micros(500));
    }
    let rate = late.len() as f64 / began.elapsed().as_secs_f64();
    late.sort_by(f64::total_cmp);
    let at = |part: f64| late[((late.len() - 1) as f64 * part) as usize] * 1000.0;
    println!(
        "latency at {rate:.0} lines a second: median {:.1} ms, p99 {:.1} ms, most {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    node.remove(&ready).await;
}

/// Of the stamp in front of a line.
fn second_of_day(line: &[u8]) -> f64 {
    let text = std::str::from_utf8(line).unwrap();
    let time = text[11..].split('Z').next().unwrap();
    let mut parts = time.split(':').map(|part| part.parse::<f64>().unwrap());
    let mut next = || parts.next().unwrap();
    next() * 3600.0 + next() * 60.0 + next()
}

/// 1 GB of numbered lines, 20 rotations as the kubelet's and 20 kills.
pub(crate) async fn rotations_and_kills(node: &mut Node) {
    const LINES: usize = 10_000_000;
    const TIMES: u32 = 20;
    // Nine bytes of number and space, 90 of text, the newline.
    let text = "x".repeat(LINE - 10);
    let first = 100_000_000;
    let script = format!("seq {} {} | sed 's/$/ {text}/'", first + 1, first + LINES);
    let ready = node.create(Way::Dockside, "whole", 1, &script).await;
    let id = ready.ids[0].clone();
    let log = node.log("whole-0");
    let began = Instant::now();
    node.start(&ready).await;
    let mut rotations = 0;
    for round in 0..TIMES {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let rotated = log.with_file_name(format!("0.log.20261121-{round:06}"));
        fs::rename(&log, &rotated).unwrap();
        let request = ReopenContainerLogRequest {
            container_id: id.clone(),
        };
        match node.daemon.runtime().reopen_container_log(request).await {
            Ok(_) => rotations += 1,
            Err(_) => fs::rename(&rotated, &log).unwrap(),
        }
        node.daemon.kill();
        node.daemon.start_again().await;
    }
    loop {
        let status = node.daemon.container_status(&id).await;
        if status.state() == cri::ContainerState::ContainerExited {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed();
    let mut next = first + 1;
    let mut bytes = 0;
    for path in in_order(&log) {
        for line in BufReader::with_capacity(1 << 20, File::open(path).unwrap()).split(b'\n') {
            let line = line.unwrap();
            let number = line.split(|byte| *byte == b' ').nth(3).unwrap();
            assert_eq!(
                number,
                next.to_string().as_bytes(),
                "line {next}: {}",
                String::from_utf8_lossy(&line)
            );
            bytes += LINE;
            next += 1;
        }
    }
    assert_eq!(next - first - 1, LINES);
    println!(
        "{:.1} GB in {took:.1?} with {rotations} rotations and {TIMES} kills: every line once and in order",
        bytes as f64 / 1e9
    );
    node.remove(&ready).await;
}

/// The log and what it was renamed to, the oldest first.
fn in_order(log: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(log.parent().unwrap()).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_by_key(|path| (path == log, path.clone()));
    paths
}
