//! A container's writable layer.

/// The directory of the writable layer, by `/proc/<pid>/mountinfo` of a process in the container: what the overlay
/// at its root writes to. It is the same for the Engine's own overlay driver and for containerd's snapshotter. `None`
/// with storage that is no overlay. The Engine's driver names it relative to its own directory where an image has so
/// many layers that whole paths would not fit.
pub fn upper_directory(mountinfo: &str) -> Option<String> {
    // Something else may be mounted over the root: what is there is the last.
    let root = mountinfo
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    let mut filesystem = root.split_once(" - ")?.1.split(' ');
    if filesystem.next()? != "overlay" {
        return None;
    }
    let options = filesystem.nth(1)?;
    let directory = options
        .split(',')
        .find_map(|option| option.strip_prefix("upperdir="))?;
    Some(unescape(directory))
}

/// Mountinfo writes some characters as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let escaped = match others {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *first == b'\\' => {
                Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, others));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_directory_is_that_of_the_root() {
        let line = |options: &str| {
            format!(
                "1 2 0:3 / / rw,relatime - overlay overlay {options}\n\
                 4 1 0:5 / /proc rw - proc proc rw\n7 1 0:8 / /data rw - overlay overlay rw,upperdir=/other\n"
            )
        };
        for (options, expected) in [
            (
                "rw,lowerdir=/l:/m,upperdir=/d/a\\040b/diff,workdir=/w",
                Some("/d/a b/diff"),
            ),
            ("rw,upperdir=/d/f18d/diff", Some("/d/f18d/diff")),
            ("rw,upperdir=f18d/diff", Some("f18d/diff")),
            ("rw,lowerdir=/l", None),
        ] {
            assert_eq!(upper_directory(&line(options)).as_deref(), expected, "{options}");
        }
        assert_eq!(upper_directory("1 2 8:1 / / rw - ext4 /dev/sda rw\n"), None);
        assert_eq!(upper_directory(""), None);
        assert_eq!(unescape("\\134\\x\\04"), "\\\\x\\04");
    }
}
