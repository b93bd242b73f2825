//! The `resolv.conf` of a pod.

use crate::Invalid;

/// The file's text as CRI wants it: the configuration's lines and nothing else.
///
/// `None` means that the pod gets a copy of the host's, as CRI says for an absent configuration and
/// containerd does for an empty one.
pub fn resolv_conf(config: Option<&cri::DnsConfig>) -> Result<Option<String>, Invalid> {
    let Some(config) = config else { return Ok(None) };
    let mut text = String::new();
    for (field, values) in [
        ("servers", &config.servers),
        ("searches", &config.searches),
        ("options", &config.options),
    ] {
        for (index, value) in values.iter().enumerate() {
            // One value with white space in it would be read as several, or as another line.
            if value.is_empty() || value.chars().any(|c| c.is_whitespace() || c.is_control()) {
                let why = format!("{value:?} is not one word");
                return Err(Invalid::new(format!("config.dns_config.{field}[{index}]"), why));
            }
        }
    }
    if !config.searches.is_empty() {
        text.push_str(&format!("search {}\n", config.searches.join(" ")));
    }
    for server in &config.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !config.options.is_empty() {
        text.push_str(&format!("options {}\n", config.options.join(" ")));
    }
    Ok((!text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(servers: &[&str], searches: &[&str], options: &[&str]) -> cri::DnsConfig {
        let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        cri::DnsConfig {
            servers: owned(servers),
            searches: owned(searches),
            options: owned(options),
        }
    }

    #[test]
    fn each_kind_has_its_line() {
        let config = config(
            &["10.96.0.10", "fd00::a"],
            &["a.local", "b.local"],
            &["ndots:5", "edns0"],
        );
        let text =
            "search a.local b.local\nnameserver 10.96.0.10\nnameserver fd00::a\noptions ndots:5 edns0\n";
        assert_eq!(resolv_conf(Some(&config)), Ok(Some(text.into())));
    }

    #[test]
    fn without_content_the_hosts_file_is_used() {
        assert_eq!(resolv_conf(None), Ok(None));
        assert_eq!(resolv_conf(Some(&config(&[], &[], &[]))), Ok(None));
    }

    #[test]
    fn a_value_cannot_add_lines() {
        for (config, field) in [
            (config(&["1.1.1.1\nnameserver 6.6.6.6"], &[], &[]), "servers[0]"),
            (config(&["1.1.1.1"], &["a.local", "b c"], &[]), "searches[1]"),
            (config(&[], &[], &[""]), "options[0]"),
            (config(&[], &[], &["edns0\0"]), "options[0]"),
        ] {
            let error = resolv_conf(Some(&config)).map_err(|error| error.field);
            assert_eq!(error, Err(format!("config.dns_config.{field}")));
        }
    }
}
