//! Whatever else is to be seen on such a node: `DOCKSIDE_VM_EXTRA=FOLDER tests/vm/run.sh a_program_that_was_brought`,
//! where FOLDER has a program `run`.

use std::{path::Path, process::Command};

/// Where `DOCKSIDE_VM_EXTRA` is found.
pub(super) const EXTRA: &str = "/payload/extra";

/// It finds the installed service, and its own folder as the current one; what it writes is among the results.
pub(crate) async fn a_program_that_was_brought() {
    let program = Path::new(EXTRA).join("run");
    let status = Command::new(&program).current_dir(EXTRA).status();
    let status =
        status.unwrap_or_else(|error| panic!("{}: {error}: see DOCKSIDE_VM_EXTRA", program.display()));
    assert!(status.success(), "{status}");
}

/// A program that must have been brought.
pub(super) fn brought(name: &str) -> String {
    let program = format!("{EXTRA}/{name}");
    assert!(
        Path::new(&program).exists(),
        "there is no {program}: see DOCKSIDE_VM_EXTRA"
    );
    program
}
