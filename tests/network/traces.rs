//! What pods leave on the node.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use support::{Daemon, Engine};

/// Everything on the node that belongs to a daemon's pods, also to those that it has forgotten.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    pub(crate) containers: BTreeSet<String>,
    pub(crate) pins: BTreeSet<String>,
    pub(crate) cached: BTreeSet<String>,
    pub(crate) leases: BTreeSet<String>,
    pub(crate) veths: BTreeSet<String>,
    pub(crate) rules: BTreeSet<String>,
}

impl Traces {
    /// As things are now.
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let containers: BTreeSet<String> = Engine::get()
            .named(&format!("_{}_", daemon.name()))
            .iter()
            .map(|container| container["Id"].as_str().unwrap().to_owned())
            .collect();
        // The log has every container that the daemon has ever spoken about.
        // It looks at those of other daemons, too, and tidies up after them.
        let log = daemon.log();
        let others = |line: &&str| line.contains("method=GET") || line.contains("of a sandbox that is gone");
        let spoken: Vec<_> = log.lines().filter(|line| !others(line)).collect();
        let mut ids = ids(&spoken.join("\n"));
        ids.extend(containers.iter().cloned());
        let of_ours = |line: &String| ids.iter().any(|id| line.contains(id));
        let leases = names(&daemon.dir().join("leases").join(daemon.name()));
        Self {
            pins: names(Path::new("/run/netns"))
                .into_iter()
                .filter(of_ours)
                .collect(),
            cached: names(&daemon.dir().join("cache/results")),
            leases: leases
                .into_iter()
                .filter(|name| name.starts_with(|c: char| c.is_ascii_hexdigit()))
                .collect(),
            veths: veths(daemon.bridge()),
            rules: rules().into_iter().filter(of_ours).collect(),
            containers,
        }
    }
}

/// Asserts that nothing is left of any pod.
#[track_caller]
pub(crate) fn no_traces(daemon: &Daemon) {
    assert_eq!(Traces::of(daemon), Traces::default());
}

fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return BTreeSet::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The ports of a bridge, by netlink: `/sys` may be of another network namespace.
fn veths(bridge: &str) -> BTreeSet<String> {
    let output = Command::new("ip")
        .args(["-o", "link", "show", "master", bridge])
        .output()
        .unwrap();
    // It fails where there is no such bridge.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| Some(line.split(": ").nth(1)?.to_owned()))
        .collect()
}

fn rules() -> Vec<String> {
    let mut rules = Vec::new();
    for program in ["iptables", "ip6tables"] {
        let output = Command::new(program)
            .args(["-w", "-t", "nat", "-S"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
        rules.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
    }
    rules
}

/// Every whole container id in a text.
fn ids(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_hexdigit())
        .filter(|word| word.len() == 64)
        .map(str::to_owned)
        .collect()
}
