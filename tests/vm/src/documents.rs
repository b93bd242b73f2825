//! The commands that the documents have an administrator give, so that it is these that are tested.

use crate::node::run;

const README: &str = include_str!("../../../README.md");
const SWITCH: &str = include_str!("../../../deploy/switch.md");

/// The commands in the section of this heading, without comments.
fn commands(document: &str, heading: &str) -> Vec<String> {
    let lines = document.lines().skip_while(|line| *line != heading).skip(1);
    let section = lines.take_while(|line| !line.starts_with('#'));
    let commands = section.filter_map(|line| line.strip_prefix("    "));
    let commands: Vec<_> = commands
        .map(|line| line.split(" #").next().unwrap_or_default().trim_end().to_owned())
        .collect();
    assert!(!commands.is_empty(), "no commands at {heading:?}");
    commands
}

/// Installs the package, which is elsewhere than in the document.
pub(crate) fn install(package: &str) {
    let commands = commands(README, "## Install");
    let install = commands
        .iter()
        .find(|command| command.starts_with("apt-get install "));
    let install = install.unwrap_or_else(|| panic!("{commands:?}"));
    let install = install.replace("./target/deploy/dockside_*.deb", package);
    assert!(install.contains(package), "{install}");
    run(&["sh", "-c", &install]);
}

/// Has dockside take over from cri-dockerd; returns what else the documents have an administrator do.
pub(crate) fn switch_to_dockside() -> Vec<String> {
    let (switch, mut others): (Vec<_>, Vec<_>) = commands(SWITCH, "## To dockside")
        .into_iter()
        .partition(|command| command.starts_with("systemctl"));
    assert_eq!(switch, commands(README, "### From cri-dockerd"));
    for command in &switch {
        run(&["sh", "-c", command]);
    }
    others.retain(|command| command != "dockside doctor");
    others
}

/// Has cri-dockerd take over from dockside.
pub(crate) fn switch_to_cri_dockerd() {
    for command in commands(SWITCH, "## Back to cri-dockerd") {
        run(&["sh", "-c", &command]);
    }
}
