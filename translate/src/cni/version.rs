use std::fmt;

/// A version of the CNI specification that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u8, u8, u8);

impl Version {
    /// The first version; what a document without a version is written in.
    pub const V0_1_0: Self = Self(0, 1, 0);
    /// `VERSION` was added.
    pub const V0_2_0: Self = Self(0, 2, 0);
    /// Lists of plugins, and results that name interfaces.
    pub const V0_3_0: Self = Self(0, 3, 0);
    /// `prevResult` for `DEL`.
    pub const V0_4_0: Self = Self(0, 4, 0);
    /// Addresses no longer name their family.
    pub const V1_0_0: Self = Self(1, 0, 0);
    /// `STATUS` and `GC`.
    pub const V1_1_0: Self = Self(1, 1, 0);

    const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self(0, 3, 1),
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// Reads a version: the empty text is 0.1.0, missing parts are 0.
    ///
    /// # Errors
    ///
    /// What is wrong with the text: not a version, or one that is not known here.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        let mut parts = [0u32; 3];
        for (index, part) in text.split('.').enumerate() {
            let slot = parts.get_mut(index).ok_or(VersionError::Malformed)?;
            *slot = part.parse().map_err(|_| VersionError::Malformed)?;
        }
        Self::ALL
            .into_iter()
            .find(|known| [known.0, known.1, known.2].map(u32::from) == parts)
            .ok_or(VersionError::Unknown)
    }

    /// The newest version.
    pub const fn newest() -> Self {
        Self::V1_1_0
    }
}

/// Why a text is not a [`Version`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// It is not numbers between dots.
    #[error("is not a version number")]
    Malformed,
    /// It is a version number that no known version has.
    #[error("is not a version of CNI known here (0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0)")]
    Unknown,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_libcni_reads_them() {
        assert_eq!(Version::parse(""), Ok(Version::V0_1_0));
        assert_eq!(Version::parse("1.1.0"), Ok(Version::V1_1_0));
        assert_eq!(Version::parse("1.0"), Ok(Version::V1_0_0));
        assert_eq!(
            Version::parse("0.3.1").map(|v| v.to_string()),
            Ok("0.3.1".to_owned())
        );
        assert_eq!(Version::parse("1.2.0"), Err(VersionError::Unknown));
        assert_eq!(Version::parse("1.0.0.0"), Err(VersionError::Malformed));
        assert_eq!(Version::parse("one"), Err(VersionError::Malformed));
        assert!(Version::V0_3_0 < Version::V0_4_0 && Version::V0_4_0 < Version::V1_0_0);
    }
}
