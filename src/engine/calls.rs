//! Names of calls, for their counts.

use hyper::Method;

/// What a call does, as its method and its path with `{id}` and `{name}` in the place of ids and names. One of few,
/// whatever the path.
pub(super) fn name(method: &Method, path: &str) -> &'static str {
    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let (kind, rest) = path.split_once('/').unwrap_or((path, ""));
    let end = rest.rsplit('/').next().unwrap_or_default();
    match (method.as_str(), kind, end) {
        ("GET", "_ping", _) => "GET /_ping",
        ("GET", "version", _) => "GET /version",
        ("GET", "info", _) => "GET /info",
        ("GET", "events", _) => "GET /events",
        ("GET", "containers", "json") if rest == "json" => "GET /containers/json",
        ("GET", "containers", "json") => "GET /containers/{id}/json",
        ("POST", "containers", "create") => "POST /containers/create",
        ("POST", "containers", "start") => "POST /containers/{id}/start",
        ("POST", "containers", "stop") => "POST /containers/{id}/stop",
        ("POST", "containers", "update") => "POST /containers/{id}/update",
        ("POST", "containers", "attach") => "POST /containers/{id}/attach",
        ("POST", "containers", "resize") => "POST /containers/{id}/resize",
        ("POST", "containers", "exec") => "POST /containers/{id}/exec",
        ("HEAD", "containers", "archive") => "HEAD /containers/{id}/archive",
        ("GET", "containers", "archive") => "GET /containers/{id}/archive",
        ("DELETE", "containers", _) => "DELETE /containers/{id}",
        ("POST", "exec", "start") => "POST /exec/{id}/start",
        ("POST", "exec", "resize") => "POST /exec/{id}/resize",
        ("GET", "exec", "json") => "GET /exec/{id}/json",
        ("GET", "images", "json") if rest == "json" => "GET /images/json",
        ("GET", "images", "json") => "GET /images/{name}/json",
        ("GET", "images", "history") => "GET /images/{name}/history",
        ("POST", "images", "create") => "POST /images/create",
        ("DELETE", "images", _) => "DELETE /images/{name}",
        ("GET", "networks", _) => "GET /networks/{name}",
        ("POST", "networks", "create") => "POST /networks/create",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_ids_and_names_are_left_out() {
        for (method, path, expected) in [
            (Method::GET, "/_ping", "GET /_ping"),
            (Method::GET, "/containers/json?all=1", "GET /containers/json"),
            (Method::GET, "/containers/0a1b/json", "GET /containers/{id}/json"),
            (
                Method::DELETE,
                "/containers/0a1b?force=1",
                "DELETE /containers/{id}",
            ),
            (
                Method::GET,
                "/images/127.0.0.1:5000/busybox:1/json",
                "GET /images/{name}/json",
            ),
            (
                Method::GET,
                "/images/127.0.0.1:5000/busybox:1/history",
                "GET /images/{name}/history",
            ),
            (
                Method::HEAD,
                "/containers/0a1b/archive?path=%2Fetc%2Fpasswd",
                "HEAD /containers/{id}/archive",
            ),
            (Method::GET, "/networks/pods", "GET /networks/{name}"),
            (Method::POST, "/containers/0a1b/made-up", "other"),
            (Method::PUT, "/", "other"),
        ] {
            assert_eq!(name(&method, path), expected);
        }
    }
}
