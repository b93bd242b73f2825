//! Container logs: where they belong, the Engine's format and CRI's.

pub mod line;
pub mod stamp;

use crate::{Invalid, paths};

/// The directory of a pod's logs as the request names it in `field`; empty if no logs are wanted.
pub fn directory<'a>(path: &'a str, field: &str) -> Result<&'a str, Invalid> {
    if path.is_empty() {
        return Ok(path);
    }
    paths::absolute(path, field)?;
    if path.split('/').any(|part| part == "..") {
        let why = format!("{path:?} leads out of the directory it names");
        return Err(Invalid::new(field, why));
    }
    Ok(path)
}

/// The absolute path of a log, or an empty one if none is wanted. It stays below the pod's directory.
pub fn path(directory: &str, path: &str) -> Result<String, Invalid> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let names_a_file = !path.ends_with('/') && !path.ends_with("/.") && path != ".";
    let leads_out = path.starts_with('/') || path.split('/').any(|part| part == "..");
    if path.contains('\0') || leads_out || !names_a_file {
        return Err(Invalid::new(
            "config.log_path",
            format!("{path:?} is not the path of a file below the sandbox's log_directory"),
        ));
    }
    if directory.is_empty() {
        // Without a directory CRI gives the path no meaning, and containerd writes no log.
        return Ok(String::new());
    }
    Ok(format!("{}/{path}", directory.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_stays_below_its_directory() {
        let joined = |directory, log: &str| path(directory, log).ok();
        assert_eq!(
            joined("/var/log/pods/p/", "c/0.log"),
            Some("/var/log/pods/p/c/0.log".into())
        );
        assert_eq!(joined("/var/log/pods/p", ""), Some(String::new()));
        assert_eq!(joined("", "c/0.log"), Some(String::new()));
    }

    #[test]
    fn a_path_that_names_no_file_below_it_is_refused() {
        for text in [
            "../q/0.log",
            "c/../../0.log",
            "..",
            "/etc/passwd",
            "a\0b",
            ".",
            "c/",
            "c/.",
        ] {
            for directory in ["/var/log/pods/p", ""] {
                let error = path(directory, text).map_err(|error| error.field);
                assert_eq!(error, Err("config.log_path".into()), "{text:?}");
            }
        }
    }

    #[test]
    fn a_directory_is_absolute_and_plain() {
        for text in ["", "/", "/var/log/pods/a_b..c"] {
            assert_eq!(directory(text, "f"), Ok(text));
        }
        for text in ["var/log", "/var/../etc", "/var/log/..", "/a\0b"] {
            let error = directory(text, "f").map_err(|error| error.field);
            assert_eq!(error, Err("f".into()), "{text:?}");
        }
    }
}
