#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::logs::source::Rotations;

/// For a process that another test is just starting: until it runs its program it has the descriptors of this one, and
/// their locks.
const PATIENCE: Duration = Duration::from_secs(30);

/// Appends and rotates as the Engine does, and knows what it has written.
struct Engine {
    path: PathBuf,
    rotations: i64,
    entries: Vec<String>,
    /// How many entries there were when the older generation ended, and the one before it.
    ends: [usize; 2],
    clock: u64,
}

impl Engine {
    fn older(&self) -> PathBuf {
        format!("{}.1", self.path.display()).into()
    }

    fn append(&self, bytes: &[u8]) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(&self.path)
            .unwrap();
        file.write_all(bytes).unwrap();
    }

    fn line_at(&mut self, stream: &str, text: &str, nanosecond: u64) {
        let time = format!(
            "2026-11-21T20:01:{:02}.{:09}Z",
            nanosecond / 1_000_000_000,
            nanosecond % 1_000_000_000
        );
        let log = serde_json::to_string(text).unwrap();
        let entry = format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n");
        self.append(entry.as_bytes());
        self.entries.push(entry);
    }

    fn line(&mut self, text: &str) {
        self.clock += 1000;
        self.line_at("stdout", &format!("{text}\n"), self.clock);
    }

    fn rotate(&mut self) {
        let _ = fs::remove_file(self.older());
        fs::rename(&self.path, self.older()).unwrap();
        File::create(&self.path).unwrap();
        self.rotations += 1;
        self.ends = [self.entries.len(), self.ends[0]];
    }

    /// Everything that was written, converted at once.
    fn expected(&self) -> String {
        let mut lines = Vec::new();
        render_all(self.entries.concat().as_bytes(), &mut lines, &mut Vec::new());
        String::from_utf8(lines).unwrap()
    }
}

struct Bench {
    directory: TempDir,
    engine: Engine,
    follow: Follow,
    kubelet: u32,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc-json.log");
        File::create(&path).unwrap();
        let engine = Engine {
            path,
            rotations: 0,
            entries: Vec::new(),
            ends: [0; 2],
            clock: 0,
        };
        let follow = Follow::new(Self::spec(&directory, &engine));
        Self {
            directory,
            engine,
            follow,
            kubelet: 0,
        }
    }

    fn spec(directory: &TempDir, engine: &Engine) -> LogSpec {
        LogSpec {
            source: engine.path.clone(),
            directory: directory.path().join("pod"),
            path: "c/0.log".into(),
        }
    }

    /// A dockside that has just started.
    fn start_again(&mut self) {
        self.follow = Follow::new(Self::spec(&self.directory, &self.engine));
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("pod/c/0.log")
    }

    fn copy(&mut self) -> io::Result<()> {
        self.copy_in(BUFFER)
    }

    fn copy_in(&mut self, buffer: usize) -> io::Result<()> {
        let (mut buffer, mut lines) = (vec![0; buffer], Vec::new());
        let count = self.engine.rotations;
        let mut counter = || Rotations { count, lapses: 0 };
        let end = Instant::now() + PATIENCE;
        loop {
            match self.follow.step(&mut buffer, &mut lines, &mut counter)? {
                Step::More => {}
                Step::Done => return Ok(()),
                Step::Taken => {
                    assert!(Instant::now() < end, "the log is somebody else's");
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// As the kubelet does.
    fn rotate(&mut self) {
        self.kubelet += 1;
        let rotated = format!("0.log.20261121-{:06}", self.kubelet);
        let _ = fs::rename(self.log(), self.log().with_file_name(rotated));
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.follow.reopen() {
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
            assert!(Instant::now() < end, "{error}");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(self.log().exists());
    }

    /// What is in the log and the renamed ones before it.
    fn written(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn bytes(&self) -> Vec<u8> {
        let Ok(entries) = fs::read_dir(self.log().parent().unwrap()) else {
            return Vec::new();
        };
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        // The current one has the shortest name.
        paths.sort_by_key(|path| (*path == self.log(), path.clone()));
        paths.iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }

    #[track_caller]
    fn check(&mut self) {
        self.copy().unwrap();
        assert_eq!(self.written(), self.engine.expected());
    }

    fn notices(&self) -> Vec<String> {
        let notice = |line: &str| Some(line.split_once(" stderr F [dockside] ")?.1.to_owned());
        self.written().lines().filter_map(notice).collect()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Line(u64, bool, String),
    Rotate,
    Copy(usize),
    KubeletRotates,
    /// The end of dockside or of the machine: the last bytes of the CRI log may be lost.
    Crash(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let text = prop_oneof![
        6 => "[ab]{0,1}\n",
        2 => "[ -~é\u{0}\t]{0,60}\n?",
        1 => "\\[dockside\\] [xy]\n",
        1 => "(0123456789){300,400}\n",
    ];
    prop_oneof![
        12 => (0..4u64, any::<bool>(), text).prop_map(|(later, err, text)| Op::Line(later, err, text)),
        2 => Just(Op::Rotate),
        4 => (20_000..BUFFER).prop_map(Op::Copy),
        1 => Just(Op::KubeletRotates),
        3 => (0..200usize).prop_map(Op::Crash),
        1 => (0..20_000usize).prop_map(Op::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_written_once_and_in_order_whatever_happens(ops in prop::collection::vec(op(), 1..120)) {
        let mut bench = Bench::new();
        for op in ops {
            match op {
                Op::Line(later, err, text) => {
                    bench.engine.clock += later / 2;
                    // Of two streams the later stamp may come first.
                    let stamp = bench.engine.clock + if later == 3 { 2 } else { 0 };
                    bench.engine.line_at(if err { "stderr" } else { "stdout" }, &text, stamp);
                }
                Op::Rotate => {
                    // The Engine may not drop what was not copied, nor the very last line that was.
                    if bench.written().matches('\n').count() <= bench.engine.ends[0] {
                        bench.engine.line("kept");
                        bench.copy().unwrap();
                    }
                    bench.engine.rotate();
                    bench.engine.clock += 10;
                }
                Op::Copy(buffer) => bench.copy_in(buffer).unwrap(),
                Op::KubeletRotates => {
                    bench.rotate();
                    bench.engine.clock += 10;
                }
                Op::Crash(lost) => {
                    let text = fs::read(bench.log()).unwrap_or_default();
                    let length = text.len().saturating_sub(lost);
                    let bytes = bench.bytes();
                    let before = bytes.len() - text.len() + length;
                    let kept = bytes[..before].iter().filter(|byte| **byte == b'\n').count();
                    if kept > bench.engine.ends[1] && bench.log().exists() {
                        File::options().write(true).open(bench.log()).unwrap().set_len(length as u64).unwrap();
                    }
                    bench.start_again();
                }
            }
        }
        bench.copy().unwrap();
        prop_assert_eq!(bench.written(), bench.engine.expected());
    }
}

#[test]
fn every_cut_of_the_log_is_gone_on_from() {
    let mut bench = Bench::new();
    for index in 0..6 {
        bench.engine.line(&format!("line {index}"));
        bench.engine.line_at("stderr", "same\n", 77_000_000);
    }
    bench.engine.rotate();
    bench.engine.line("after");
    bench.check();
    let whole = fs::read(bench.log()).unwrap();
    for cut in 0..=whole.len() {
        fs::write(bench.log(), &whole[..cut]).unwrap();
        bench.start_again();
        bench.check();
    }
}

#[test]
fn what_comes_between_a_read_and_the_rotation_is_read() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.copy().unwrap();
    bench.engine.line("two");
    bench.engine.rotate();
    bench.engine.line("three");
    bench.engine.rotate();
    bench.engine.line("four");
    // Two generations on, yet nothing is lost: the first is still open.
    bench.check();
}

#[test]
fn generations_that_went_unread_are_said_to_be_missing() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.copy().unwrap();
    for index in 0..3 {
        bench.engine.rotate();
        bench.engine.line(&format!("generation {index}"));
    }
    bench.copy().unwrap();
    assert_eq!(
        bench.notices(),
        [
            "lines are missing: 1 files of the engine's log, about 83 bytes, were rotated away before they were \
          copied, between 2026-11-21T20:01:00.000001000Z and 2026-11-21T20:01:00.000003000Z"
        ]
    );
    let written = bench.written();
    assert!(written.contains("generation 1") && written.contains("generation 2"));
    assert!(!written.contains("generation 0"));
}

#[test]
fn a_gap_while_dockside_was_away_is_said() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.copy().unwrap();
    for index in 0..3 {
        bench.engine.rotate();
        bench.engine.line(&format!("generation {index}"));
    }
    for _ in 0..2 {
        // Said once, however often dockside starts.
        bench.start_again();
        bench.copy().unwrap();
    }
    let notices = bench.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].starts_with("lines may be missing")
            && notices[0]
                .ends_with("between 2026-11-21T20:01:00.000001000Z and 2026-11-21T20:01:00.000003000Z"),
        "{notices:?}"
    );
    assert_eq!(bench.written().lines().count(), 4);
}

#[test]
fn lines_that_a_crash_took_from_the_engine_are_not_looked_for_twice() {
    let mut bench = Bench::new();
    for index in 0..50 {
        bench.engine.line(&format!("line {index}"));
    }
    bench.check();
    let mut expected = bench.written();
    // The Engine's file has lost its last lines, and the CRI log has not.
    let length: usize = bench.engine.entries[..40].iter().map(String::len).sum();
    File::options()
        .write(true)
        .open(&bench.engine.path)
        .unwrap()
        .set_len(length as u64 + 20)
        .unwrap();
    bench.start_again();
    bench.engine.line("after the crash");
    bench.copy().unwrap();
    let written = bench.written();
    let added = written.strip_prefix(&expected).unwrap().to_owned();
    assert!(
        added
            .lines()
            .next()
            .unwrap()
            .ends_with("[dockside] a line before this was torn by a crash or a full disk")
    );
    assert!(added.ends_with(" stdout F after the crash\n"));
    assert_eq!(added.lines().count(), 2);
    // And that is where the next start goes on.
    expected = written;
    bench.start_again();
    bench.copy().unwrap();
    assert_eq!(bench.written(), expected);
}

#[test]
fn a_clock_that_was_set_back_doubles_nothing() {
    let mut bench = Bench::new();
    for hour in [30, 10, 20, 5] {
        for index in 0..3000 {
            let stamp = hour * 1_000_000_000 + index;
            bench
                .engine
                .line_at("stdout", &format!("{:0>200}\n", index), stamp);
        }
        bench.start_again();
        bench.check();
    }
}

#[test]
fn what_is_no_log_line_is_skipped_and_said() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.engine.append(&vec![0; 3 * BUFFER + 7]);
    bench.engine.line("two");
    bench.engine.append(b"rubbish\n");
    bench.engine.line("three");
    bench.copy().unwrap();
    let written = bench.written();
    let texts: Vec<_> = written.lines().filter(|line| line.contains(" stdout ")).collect();
    assert_eq!(texts.len(), 3, "{written}");
    let notices = bench.notices();
    assert!(
        notices
            .iter()
            .any(|notice| notice.starts_with("8 bytes") || notice.starts_with("7 bytes")),
        "{notices:?}"
    );
    assert!(
        notices.iter().any(|notice| notice.starts_with("131072 bytes")),
        "{notices:?}"
    );
}

#[test]
fn the_old_file_gets_nothing_after_a_rotation_and_the_new_one_all() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.copy().unwrap();
    bench.rotate();
    let old = bench.log().with_file_name("0.log.20261121-000001");
    assert_eq!(fs::read(bench.log()).unwrap(), b"");
    let before = fs::read(&old).unwrap();
    // A start with nothing in the new file looks for its place in the old one.
    bench.start_again();
    bench.engine.line("two");
    bench.check();
    assert_eq!(fs::read(&old).unwrap(), before);
}

#[test]
fn a_rotation_that_fails_leaves_no_file() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.copy().unwrap();
    let moved = bench.log().with_file_name("0.log.20261121-000001");
    fs::rename(bench.log(), &moved).unwrap();
    // No file can be made where a directory is.
    fs::create_dir(bench.log()).unwrap();
    assert!(bench.follow.reopen().is_err());
    fs::remove_dir(bench.log()).unwrap();
    fs::rename(&moved, bench.log()).unwrap();
    bench.engine.line("two");
    bench.check();
}

#[test]
fn a_log_that_is_deleted_begins_again() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.copy().unwrap();
    fs::remove_file(bench.log()).unwrap();
    bench.engine.line("two");
    bench.copy().unwrap();
    assert!(bench.written().ends_with(" stdout F two\n"));
    fs::remove_dir_all(bench.directory.path().join("pod")).unwrap();
    bench.engine.line("three");
    bench.copy().unwrap();
    let written = bench.written();
    assert!(
        written.ends_with(" stdout F three\n") && written.lines().count() == 1,
        "{written}"
    );
}

#[test]
fn a_link_of_another_program_becomes_a_log_with_every_line() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.engine.rotate();
    bench.engine.line("two");
    fs::create_dir_all(bench.log().parent().unwrap()).unwrap();
    symlink(&bench.engine.path, bench.log()).unwrap();
    bench.check();
    assert!(fs::symlink_metadata(bench.log()).unwrap().is_file());
    assert!(fs::read_to_string(&bench.engine.path).unwrap().starts_with('{'));
}

#[test]
fn no_link_and_no_path_leads_out_of_the_pods_directory() {
    let outside = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    bench.engine.line("one");
    fs::create_dir_all(bench.directory.path().join("pod")).unwrap();
    symlink(outside.path(), bench.directory.path().join("pod/c")).unwrap();
    assert!(bench.copy().is_err());
    for path in ["../0.log", "/0.log", "c/../../0.log", "."] {
        let mut sink = Sink::new(bench.directory.path().join("pod"), path.into());
        assert!(sink.prepare().is_err(), "{path}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!bench.directory.path().join("0.log").exists());
    // What was in the way is gone, and nothing is lost.
    fs::remove_file(bench.directory.path().join("pod/c")).unwrap();
    bench.check();
}

#[test]
fn a_log_of_which_the_engine_has_nothing_is_left_alone() {
    let mut bench = Bench::new();
    fs::remove_file(&bench.engine.path).unwrap();
    bench.copy().unwrap();
    assert!(!bench.directory.path().join("pod").exists());
}

#[test]
fn of_two_that_follow_a_log_one_writes() {
    let mut bench = Bench::new();
    bench.engine.line("one");
    bench.copy().unwrap();
    let mut other = Follow::new(Bench::spec(&bench.directory, &bench.engine));
    let (mut buffer, mut lines) = (vec![0; BUFFER], Vec::new());
    let mut counter = || Rotations { count: 0, lapses: 0 };
    for _ in 0..2 {
        bench.engine.line("more");
        assert_eq!(
            other.step(&mut buffer, &mut lines, &mut counter).unwrap(),
            Step::Taken
        );
        assert!(other.reopen().is_err());
        bench.check();
        // Neither rotation ends the claim.
        bench.rotate();
        bench.engine.rotate();
    }
    bench.engine.line("the last");
    bench.start_again();
    // The other one goes on where the first has ended.
    std::mem::swap(&mut bench.follow, &mut other);
    bench.check();
}

#[test]
fn a_log_costs_no_memory_while_it_is_quiet() {
    let mut bench = Bench::new();
    for _ in 0..1000 {
        bench.engine.line(&"x".repeat(100));
    }
    bench.check();
    assert_eq!(bench.follow.sink.kept(), 0);
}
