//! Logs of containers that count.

use std::{path::Path, time::Duration};

use crate::node::PATIENCE;

/// How far the count has come. Fails if a number is missing, is there twice, or is out of order.
pub(crate) fn counted(log: &Path) -> u64 {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut next = 0;
    // A shell says on stderr what ended its child.
    for line in whole.lines().filter(|line| line.contains(" stdout ")) {
        let number = line
            .rsplit(' ')
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        let number = number.unwrap_or_else(|| panic!("no number in {line:?} of {}", log.display()));
        assert_eq!(number, next, "the count in {}", log.display());
        next += 1;
    }
    next
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
