//! How many files this process may open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and returns it; `None` is no limit.
///
/// Soft limits are 1024 for the sake of programs that use `select`, which this one does not: each session, each
/// forwarded connection and each log that is followed takes a file or two.
pub fn raise() -> io::Result<Option<u64>> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(maximum)
}
