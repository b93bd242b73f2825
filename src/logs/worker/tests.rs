#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::sync::oneshot;

use super::*;
use crate::logs::LogSpec;

/// A slow machine may take long, and a hand is slow after a second only.
const PATIENCE: Duration = Duration::from_secs(30);

fn follow(mailbox: &Mailbox, directory: &Path, id: &str) {
    let spec = LogSpec {
        source: directory.join(id).join(format!("{id}-json.log")),
        directory: directory.join("pod"),
        path: format!("{id}/0.log").into(),
    };
    fs::create_dir_all(directory.join(id)).unwrap();
    mailbox.send(Command::Follow { id: id.into(), spec });
}

fn copy(mailbox: &Mailbox, id: &str) -> oneshot::Receiver<io::Result<()>> {
    let (reply, answer) = oneshot::channel();
    mailbox.send(Command::Copy {
        id: id.into(),
        then: Then::Stay,
        reply: Some(reply),
    });
    answer
}

fn say(directory: &Path, id: &str, text: &str) {
    let path = directory.join(id).join(format!("{id}-json.log"));
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    writeln!(
        file,
        r#"{{"log":"{text}\n","stream":"stdout","time":"2026-11-21T20:01:02.5Z"}}"#
    )
    .unwrap();
}

fn written(directory: &Path, id: &str) -> String {
    fs::read_to_string(directory.join("pod").join(id).join("0.log")).unwrap_or_default()
}

#[tokio::test]
async fn a_file_system_that_hangs_holds_up_no_other_log() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    let mailbox = start(&CancellationToken::new()).unwrap();
    // Whoever opens a pipe that nobody writes to is held, as by a server that does not answer.
    let hung: Vec<_> = (0..3).map(|index| format!("hung{index}")).collect();
    for id in &hung {
        fs::create_dir_all(directory.join(id)).unwrap();
        let pipe = directory.join(id).join(format!("{id}-json.log"));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        follow(&mailbox, directory, id);
    }
    for id in ["first", "second"] {
        follow(&mailbox, directory, id);
        say(directory, id, "one");
        let answer = tokio::time::timeout(PATIENCE, copy(&mailbox, id)).await;
        answer.expect("it is copied in time").unwrap().unwrap();
        assert_eq!(written(directory, id), "2026-11-21T20:01:02.5Z stdout F one\n");
    }
    // And whoever waits for it is told once it answers.
    let waiting: Vec<_> = hung.iter().map(|id| copy(&mailbox, id)).collect();
    for (id, answer) in hung.iter().zip(waiting) {
        let pipe = directory.join(id).join(format!("{id}-json.log"));
        let _writer = File::options().write(true).open(&pipe).unwrap();
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        assert!(
            answer.expect("it is told in time").unwrap().is_err(),
            "a pipe is no log"
        );
    }
}

#[test]
fn a_busy_log_stays_busy_while_it_waits_for_the_processor() {
    let mut looks = looks_left(0, BUSY - 1);
    assert_eq!(looks, 0, "a quiet log is not looked at by the clock");
    for _ in 0..3 {
        looks = looks_left(looks, BUSY);
        for _ in 1..LOOKS {
            looks = looks_left(looks, 0);
            assert!(looks > 0, "a moment without lines is not the end of them");
        }
    }
    assert_eq!(looks_left(looks, 0), 0, "after that its lines are reported again");
}
