//! What is to be measured.

use std::path::PathBuf;

/// The options after `--`.
#[derive(Debug)]
pub(crate) struct Options {
    /// Numbers of pods of two containers, each more than the one before.
    pub(crate) pods: Vec<usize>,
    /// How long the node is polled at each.
    pub(crate) seconds: u64,
    /// Whose CRI socket; a dockside of this run's own if none.
    pub(crate) socket: Option<PathBuf>,
    /// The image that is used there.
    pub(crate) image: String,
    /// Where a plot goes.
    pub(crate) svg: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            pods: vec![50, 125],
            seconds: 30,
            socket: None,
            image: String::new(),
            svg: None,
        };
        // cargo adds `--bench` by itself.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            let number = |text: &str| match text.parse() {
                Ok(count) if count > 0 => Ok(count),
                _ => Err(format!("{name} {value:?}: not numbers from 1 on")),
            };
            match name.as_str() {
                "--pods" => {
                    options.pods = value.split(',').map(number).collect::<Result<_, _>>()?;
                    options.pods.sort_unstable();
                }
                "--seconds" => options.seconds = number(&value)? as u64,
                "--socket" => options.socket = Some(value.into()),
                "--image" => options.image = value,
                "--svg" => options.svg = Some(value.into()),
                _ => {
                    return Err(format!(
                        "unknown option {name}: there are --pods, --seconds, --socket, --image and --svg"
                    ));
                }
            }
        }
        if options.socket.is_some() && options.image.is_empty() {
            return Err("--socket needs an --image that can be pulled there".into());
        }
        Ok(options)
    }
}
