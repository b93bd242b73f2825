//! Ids of sandboxes and containers.

use std::fmt;

/// The id, or an unambiguous part of the beginning of an id, of an Engine container.
///
/// Nothing but hexadecimal digits, so it is safe in a path and never taken for a container's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

/// The length of a whole id.
const WHOLE: usize = 64;

impl ContainerId {
    /// Reads an id; `None` for what no container can have as one.
    pub fn parse(text: &str) -> Option<Self> {
        let hexadecimal = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (hexadecimal && (1..=WHOLE).contains(&text.len())).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a whole id rather than the beginning of one.
    pub fn is_whole(&self) -> bool {
        self.0.len() == WHOLE
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hexadecimal_text_is_an_id() {
        let whole = "0123456789abcdef".repeat(4);
        assert!(ContainerId::parse(&whole).is_some_and(|id| id.is_whole()));
        assert!(ContainerId::parse("a1b2c3").is_some_and(|id| !id.is_whole()));
        for text in ["", "k8s_POD_x", "../info", "ABC", "a?b", &format!("{whole}0")] {
            assert_eq!(ContainerId::parse(text), None, "{text}");
        }
    }
}
