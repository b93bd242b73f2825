//! Container logs: where they belong, the Engine's format and CRI's.

pub mod line;
pub mod stamp;

use crate::Invalid;

/// The absolute path of a log, or an empty one if none is wanted. It stays below the pod's directory.
pub fn path(directory: &str, path: &str) -> Result<String, Invalid> {
    let field = "config.log_path";
    if path.is_empty() {
        return Ok(String::new());
    }
    if directory.is_empty() {
        // Without a directory CRI gives the path no meaning, and containerd writes no log.
        return Ok(String::new());
    }
    if path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err(Invalid::new(
            field,
            format!("{path:?} is not a path below the sandbox's log_directory"),
        ));
    }
    Ok(format!("{}/{path}", directory.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_log_stays_below_its_directory() {
        let joined = |directory, path| super::path(directory, path).ok();
        assert_eq!(
            joined("/var/log/pods/p/", "c/0.log"),
            Some("/var/log/pods/p/c/0.log".into())
        );
        assert_eq!(joined("/var/log/pods/p", ""), Some(String::new()));
        assert_eq!(joined("", "c/0.log"), Some(String::new()));
        for path in ["../q/0.log", "c/../../0.log", "/etc/passwd", "a\0b"] {
            assert_eq!(joined("/var/log/pods/p", path), None, "{path}");
        }
    }
}
