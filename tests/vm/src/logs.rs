//! Logs of containers that count.

use std::{ops::Range, path::Path, time::Duration};

use crate::node::{PATIENCE, run};

/// How far the count has come. Fails if a number is missing, is there twice, or is out of order.
pub(crate) fn counted(log: &Path) -> u64 {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let numbers = numbers(&text, log);
    assert_eq!(numbers.start, 0, "the count in {}", log.display());
    numbers.end
}

/// The same of all that is left of a log that the kubelet has rotated.
pub(crate) fn rotated(log: &Path) -> Range<u64> {
    let log = log.display();
    let text = run(&["sh", "-c", &format!("gzip -dcf {log}.* && cat {log}")]);
    numbers(&text, log.to_string().as_ref())
}

fn numbers(text: &str, log: &Path) -> Range<u64> {
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut numbers = None;
    // A shell says on stderr what ended its child.
    for line in whole.lines().filter(|line| line.contains(" stdout ")) {
        let number = line
            .rsplit(' ')
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        let number = number.unwrap_or_else(|| panic!("no number in {line:?} of {}", log.display()));
        let numbers = numbers.get_or_insert(number..number);
        assert_eq!(number, numbers.end, "the count in {}", log.display());
        numbers.end += 1;
    }
    numbers.unwrap_or(0..0)
}

/// Waits until the count is beyond `number`.
pub(crate) async fn counts_beyond(log: &Path, number: u64) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let count = counted(log);
        if count > number {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "{} stays at {count}",
            log.display()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
