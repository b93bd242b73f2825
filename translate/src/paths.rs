//! Paths as the Engine and the kernel take them; compared by text, never looked up.

use crate::Invalid;

/// Refuses a path that is not absolute.
pub(crate) fn absolute(path: &str, field: &str) -> Result<(), Invalid> {
    if path.is_empty() {
        return Err(Invalid::new(field, "is empty, expected an absolute path"));
    }
    if !path.starts_with('/') {
        return Err(Invalid::new(field, format!("{path:?} is not an absolute path")));
    }
    if path.contains('\0') {
        return Err(Invalid::new(field, format!("{path:?} contains a NUL byte")));
    }
    Ok(())
}

/// The shortest form of an absolute path: no doubled slash, no `.`, no `..`.
pub(crate) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cleans() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/a/", "/a"),
            ("/a//b/./c", "/a/b/c"),
            ("/a/../b", "/b"),
            ("/../..", "/"),
            ("/...", "/..."),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn refuses() {
        for path in ["", "a", "./a", "C:\\a", "/a\0b"] {
            let error = absolute(path, "x").unwrap_err();
            assert_eq!(error.field, "x", "{path:?}");
        }
        assert_eq!(absolute("/a b", "x"), Ok(()));
    }

    proptest! {
        #[test]
        fn cleaning_is_idempotent(path in ".*") {
            let once = clean(&path);
            prop_assert!(once.starts_with('/'));
            prop_assert_eq!(clean(&once), once);
        }
    }
}
