//! Calls to the Engine, as a proxy has seen them.

use std::{collections::BTreeMap, fmt};

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path without version and query, with `{id}` and `{name}` in the place of ids and names.
    pub template: String,
    /// Path and query as they were sent.
    pub path: String,
    /// The header of that name.
    pub traceparent: Option<String>,
}

impl Call {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            template: template(path),
            path: path.into(),
            traceparent: None,
        }
    }
}

/// Calls in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub struct Calls(pub Vec<Call>);

impl Calls {
    /// How many there are.
    pub fn total(&self) -> usize {
        self.0.len()
    }

    /// How many there are of one sort.
    pub fn of(&self, method: &str, template: &str) -> usize {
        let same = |call: &&Call| call.method == method && call.template == template;
        self.0.iter().filter(same).count()
    }

    /// How many there are of each sort.
    pub fn counts(&self) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        for call in &self.0 {
            *counts
                .entry((call.method.clone(), call.template.clone()))
                .or_default() += 1;
        }
        counts
    }
}

/// A table.
impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((method, template), count) in self.counts() {
            writeln!(f, "{count:>5} {method:<6} {template}")?;
        }
        Ok(())
    }
}

/// `/v1.41/containers/0123/start?x=y` as `/containers/{id}/start`.
fn template(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let mut segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let versioned = |s: &&str| {
        s.strip_prefix('v')
            .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
    };
    if segments.first().is_some_and(versioned) {
        segments.remove(0);
    }
    match segments.as_slice() {
        [
            kind @ ("containers" | "networks" | "volumes"),
            "json" | "create" | "prune",
        ] => {
            format!("/{kind}/{}", segments[1])
        }
        [
            kind @ ("containers" | "exec" | "networks" | "volumes"),
            id,
            rest @ ..,
        ] if !id.is_empty() => ["", kind, "{id}"]
            .into_iter()
            .chain(rest.iter().copied())
            .collect::<Vec<_>>()
            .join("/"),
        ["images", "json" | "create" | "prune" | "load" | "search" | "get"] => segments_path(&segments),
        // Names of images have slashes.
        [
            "images",
            _,
            ..,
            verb @ ("json" | "history" | "tag" | "push" | "get"),
        ] => format!("/images/{{name}}/{verb}"),
        ["images", _, ..] => "/images/{name}".into(),
        ["distribution", _, .., "json"] => "/distribution/{name}/json".into(),
        _ => segments_path(&segments),
    }
}

fn segments_path(segments: &[&str]) -> String {
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_ids_and_names_are_left_out() {
        for (path, expected) in [
            ("/_ping", "/_ping"),
            ("/v1.41/containers/json?all=true", "/containers/json"),
            ("/v1.53/containers/0a1b/start", "/containers/{id}/start"),
            ("/v1.41/containers/0a1b?force=1", "/containers/{id}"),
            ("/v1.41/exec/0a1b/json", "/exec/{id}/json"),
            ("/v1.41/images/json", "/images/json"),
            (
                "/v1.41/images/127.0.0.1:5000/busybox:1/json",
                "/images/{name}/json",
            ),
            ("/v1.41/images/sha256:00?noprune=1", "/images/{name}"),
            ("/v1.41/networks/create", "/networks/create"),
            ("/v1.41/system/df", "/system/df"),
        ] {
            assert_eq!(Call::new("GET", path).template, expected);
        }
    }
}
