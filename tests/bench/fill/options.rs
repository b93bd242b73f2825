//! What is to be measured.

/// The options after `--`.
#[derive(Debug)]
pub(crate) struct Options {
    /// Pods of two containers.
    pub(crate) pods: usize,
    /// How often the node is filled, in either way.
    pub(crate) rounds: usize,
    /// Pods that are started at a time.
    pub(crate) parallel: usize,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            pods: 50,
            rounds: 3,
            parallel: 8,
        };
        // cargo adds `--bench` by itself.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let place = match name.as_str() {
                "--pods" => &mut options.pods,
                "--rounds" => &mut options.rounds,
                "--parallel" => &mut options.parallel,
                _ => {
                    return Err(format!(
                        "unknown option {name}: there are --pods, --rounds and --parallel"
                    ));
                }
            };
            let value = arguments.next().unwrap_or_default();
            *place = match value.parse() {
                Ok(count) if count > 0 => count,
                _ => return Err(format!("{name} {value:?}: not a number from 1 on")),
            };
        }
        Ok(options)
    }
}
