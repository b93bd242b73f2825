//! What is in force in a running container where the Engine does not know it.

use std::collections::BTreeMap;

use cri::LinuxContainerResources;

use super::MINIMUM_MEMORY;
use crate::facts::EngineFacts;

/// The name under which the caller hands in `/proc/<pid>/oom_score_adj`.
pub const OOM_SCORE_ADJ: &str = "oom_score_adj";

/// A page, in bytes: limits are rounded down to whole ones.
const PAGE: i64 = 4096;

/// No memory is as large, in bytes: from here on a limit is none.
pub(super) const NO_LIMIT: i64 = 1 << 60;

/// The limit in bytes that the kernel itself calls none: whole pages, as many as a number has room for.
pub(super) const UNLIMITED: i64 = i64::MAX - (PAGE - 1);

/// The file of the container's cgroup that is read.
pub fn limit_file(facts: &EngineFacts) -> &'static str {
    if facts.cgroup_version == 2 {
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    }
}

/// Corrects what the Engine reports by what the kernel says: a limit that was taken away or is below the
/// Engine's minimum, and a score that was changed, were written behind the Engine. `live` holds the texts
/// of the files that could be read.
pub fn correct(reported: &mut LinuxContainerResources, live: &BTreeMap<String, String>) {
    if let Some(score) = live.get(OOM_SCORE_ADJ).and_then(|text| text.trim().parse().ok()) {
        reported.oom_score_adj = score;
    }
    let limit = live
        .iter()
        .find_map(|(file, text)| file.starts_with("memory.").then(|| text.trim()));
    match limit.map(str::parse::<i64>) {
        // What is no number is `max`, of cgroup v2.
        Some(Err(_) | Ok(NO_LIMIT..)) if reported.memory_limit_in_bytes > 0 => {
            reported.memory_limit_in_bytes = 0;
            reported.memory_swap_limit_in_bytes = reported.memory_swap_limit_in_bytes.min(0);
        }
        Some(Ok(limit)) if limit < MINIMUM_MEMORY => {
            let differs = reported.memory_limit_in_bytes - limit;
            // What was asked for is more exact than whole pages.
            if !(0..PAGE).contains(&differs) {
                reported.memory_limit_in_bytes = limit;
                if reported.memory_swap_limit_in_bytes > 0 {
                    reported.memory_swap_limit_in_bytes -= differs;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: i64 = 1 << 20;

    #[test]
    fn the_kernel_has_the_last_word_where_the_engine_was_passed_by() {
        let unlimited = i64::MAX.to_string();
        // Reported limit and swap limit, the file and its text, what is told.
        for (limit, swap, file, text, told) in [
            (64 * MB, 96 * MB, "memory.max", "67108864\n", (64 * MB, 96 * MB)),
            (64 * MB, 96 * MB, "memory.max", "max\n", (0, 0)),
            (64 * MB, -1, "memory.max", "max\n", (0, -1)),
            (64 * MB, 96 * MB, "memory.limit_in_bytes", &*unlimited, (0, 0)),
            (
                64 * MB,
                96 * MB,
                "memory.limit_in_bytes",
                "9223372036854771712",
                (0, 0),
            ),
            (6 * MB, 6 * MB, "memory.max", "4194304", (4 * MB, 4 * MB)),
            (
                6 * MB,
                7 * MB,
                "memory.limit_in_bytes",
                "4194304",
                (4 * MB, 5 * MB),
            ),
            (
                4 * MB + 5,
                4 * MB + 5,
                "memory.max",
                "4194304",
                (4 * MB + 5, 4 * MB + 5),
            ),
            (64 * MB + 5, 0, "memory.max", "67108864", (64 * MB + 5, 0)),
            (0, 0, "memory.max", "max", (0, 0)),
        ] {
            let mut reported = LinuxContainerResources {
                memory_limit_in_bytes: limit,
                memory_swap_limit_in_bytes: swap,
                oom_score_adj: 3,
                ..Default::default()
            };
            let mut live = BTreeMap::from([(file.to_owned(), text.to_owned())]);
            correct(&mut reported, &live);
            let has = (
                reported.memory_limit_in_bytes,
                reported.memory_swap_limit_in_bytes,
            );
            assert_eq!((has, reported.oom_score_adj), (told, 3), "{limit} {file} {text}");
            live.insert(OOM_SCORE_ADJ.to_owned(), "-7\n".to_owned());
            correct(&mut reported, &live);
            assert_eq!(reported.oom_score_adj, -7);
        }
        let mut reported = LinuxContainerResources::default();
        correct(&mut reported, &BTreeMap::new());
        assert_eq!(reported, LinuxContainerResources::default());
    }
}
