/// A request that cannot be honoured: which field, and what was expected of it.
///
/// `field` is the path of the field as CRI names it, such as `config.linux.resources.cpu_period`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// The field's path in the request.
    pub field: String,
    /// What is wrong with its value and what was expected.
    pub why: String,
}

impl Invalid {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }

    /// The same error about a message that the request holds at `there` instead of `here`.
    #[must_use]
    pub(crate) fn moved(self, here: &str, there: &str) -> Self {
        match self.field.strip_prefix(here) {
            Some(rest) => Self {
                field: format!("{there}{rest}"),
                why: self.why,
            },
            None => self,
        }
    }

    /// The same error seen from one message further out: `prefix.field`.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        Self {
            field: format!("{prefix}.{}", self.field),
            why: self.why,
        }
    }
}

/// Takes a message that must be present.
pub fn required<'a, T>(value: &'a Option<T>, field: &str) -> Result<&'a T, Invalid> {
    value.as_ref().ok_or_else(|| Invalid::new(field, "is missing"))
}
