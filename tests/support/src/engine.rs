//! A client of the Engine's that shares nothing with the daemon's: by it tests judge.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

/// The Engine, asked by one connection for each call.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

impl Engine {
    /// The Engine at `socket`.
    pub fn at(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().into(),
        }
    }

    /// The Engine of the environment.
    pub fn get() -> Self {
        Self::at(&crate::Env::get().engine)
    }

    /// One call: the status, and the answer as JSON (null if it is empty, a string if it is no JSON).
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = UnixStream::connect(&self.socket)
            .unwrap_or_else(|error| panic!("connect {}: {error}", self.socket.display()));
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // HTTP/1.0: the answer is not chunked, and the connection ends with it.
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let answer = String::from_utf8_lossy(&answer);
        let (head, text) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{method} {path}: no HTTP answer: {answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{method} {path}: no status: {head:?}"));
        let value = if text.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        };
        (status, value)
    }

    /// One call that must succeed.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, value) = self.call(method, path, body);
        assert!(status < 300, "{method} {path}: {status} {value}");
        value
    }

    /// A container, if there is one of that id or name.
    pub fn find(&self, id: &str) -> Option<Value> {
        match self.call("GET", &format!("/containers/{id}/json"), None) {
            (404, _) => None,
            (200, value) => Some(value),
            (status, value) => panic!("inspect {id}: {status} {value}"),
        }
    }

    /// A container that must be there.
    pub fn inspect(&self, id: &str) -> Value {
        self.find(id)
            .unwrap_or_else(|| panic!("the Engine has no container {id}"))
    }

    /// All containers with `part` in their names, running or not.
    pub fn named(&self, part: &str) -> Vec<Value> {
        let Value::Array(all) = self.ask("GET", "/containers/json?all=1", None) else {
            panic!("the Engine's list is no list");
        };
        let has = |value: &Value| value["Names"].to_string().contains(part);
        all.into_iter().filter(has).collect()
    }

    /// Removes a container, running or not; one that is gone is fine.
    pub fn remove(&self, id: &str) {
        let (status, value) = self.call("DELETE", &format!("/containers/{id}?force=1&v=1"), None);
        // 409: somebody else removes it.
        assert!(
            status < 300 || status == 404 || status == 409,
            "remove {id}: {status} {value}"
        );
    }

    /// Whether images are kept by containerd: then an image's id is the digest of its manifest or index, where the
    /// Engine's own store takes that of its configuration.
    pub fn containerd_store(&self) -> bool {
        let info = self.ask("GET", "/info", None);
        info["DriverStatus"]
            .to_string()
            .contains("io.containerd.snapshotter")
    }

    /// The Engine's API version, as major and minor.
    pub fn api_version(&self) -> (u32, u32) {
        let version = self.ask("GET", "/version", None);
        let parse = || {
            let (major, minor) = version["ApiVersion"].as_str()?.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        parse().unwrap_or_else(|| panic!("no API version in {version}"))
    }
}
