//! Files of a container, running or not, out of the archives that the Engine makes of them.

use std::io::{self, Read};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Limited};
use hyper::Method;
use serde::Deserialize;

use super::{Engine, EngineError, raw};

/// What is at a path, in the header that comes with an archive.
const STAT: &str = "x-docker-container-path-stat";

/// An archive of one file has less around it than this, in bytes.
const FRAME: usize = 64 << 10;

/// What the Engine says of a path.
#[derive(Deserialize)]
struct PathStat {
    /// Where a symbolic link ends, within the container; empty for everything else.
    #[serde(default, rename = "linkTarget")]
    link_target: String,
}

impl Engine {
    /// Where `path` of a container leads, links followed; `None` if nothing is there.
    pub async fn resolve_path(&self, id: &str, path: &str) -> Result<Option<String>, EngineError> {
        let Some(stat) = self.stat_path(id, path).await? else {
            return Ok(None);
        };
        if stat.link_target.is_empty() {
            return Ok(Some(path.to_owned()));
        }
        // The target is told whether it exists or not.
        let found = self.stat_path(id, &stat.link_target).await?;
        Ok(found.map(|_| stat.link_target))
    }

    async fn stat_path(&self, id: &str, path: &str) -> Result<Option<PathStat>, EngineError> {
        let action = format!("look at {path} in container {id}");
        let request = raw::request(Method::HEAD, &address(id, path), None, &action)?;
        let call = self.transport.call(request, &action);
        let response = raw::bounded(&action, self.timeout, call).await?;
        match response.status().as_u16() {
            // An answer to HEAD has no text that could tell whether the container is gone.
            404 => return Ok(None),
            200 => {}
            _ => return Err(raw::refusal(response, &action).await),
        }
        let header = response.headers().get(STAT).map(|value| value.as_bytes());
        let stat = header
            .and_then(|value| STANDARD.decode(value).ok())
            .and_then(|json| serde_json::from_slice(&json).ok());
        stat.map(Some).ok_or_else(|| EngineError::Malformed {
            action,
            why: format!("the header {STAT} is missing or broken"),
        })
    }

    /// The text of a file of a container, of at most `limit` bytes, links followed; `None` if there is no
    /// such file.
    pub async fn read_file(&self, id: &str, path: &str, limit: usize) -> Result<Option<String>, EngineError> {
        match self.read_entry(id, path, limit).await? {
            Entry::Text(text) => Ok(Some(text)),
            Entry::Other => Ok(None),
            Entry::Link => {
                let Some(target) = self.resolve_path(id, path).await? else {
                    return Ok(None);
                };
                match self.read_entry(id, &target, limit).await? {
                    Entry::Text(text) => Ok(Some(text)),
                    Entry::Link | Entry::Other => Ok(None),
                }
            }
        }
    }

    async fn read_entry(&self, id: &str, path: &str, limit: usize) -> Result<Entry, EngineError> {
        let action = format!("read {path} in container {id}");
        let malformed = |why: String| EngineError::Malformed {
            action: action.clone(),
            why,
        };
        let download = raw::bounded(&action, self.timeout, async {
            let response = self
                .stream(Method::GET, &address(id, path), None, &action)
                .await?;
            let body = Limited::new(response.into_body(), limit + FRAME).collect().await;
            let whole = body.map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(lost) => self.transport.broken_off(&action, &*lost),
                Err(too_long) => malformed(too_long.to_string()),
            });
            Ok(whole?.to_bytes())
        });
        let archive = match download.await {
            // Either the path, or the container, which somebody may have pruned.
            Err(error) if error.is_not_found() && !error.message().contains("No such container") => {
                return Ok(Entry::Other);
            }
            other => other?,
        };
        first_entry(&archive).map_err(|error| malformed(error.to_string()))
    }
}

/// What is at the beginning of an archive.
enum Entry {
    Text(String),
    Link,
    Other,
}

fn first_entry(archive: &[u8]) -> io::Result<Entry> {
    let mut archive = tar::Archive::new(archive);
    let Some(entry) = archive.entries()?.next() else {
        return Ok(Entry::Other);
    };
    let mut entry = entry?;
    Ok(match entry.header().entry_type() {
        kind if kind.is_file() => {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            Entry::Text(String::from_utf8_lossy(&text).into_owned())
        }
        kind if kind.is_symlink() => Entry::Link,
        _ => Entry::Other,
    })
}

fn address(id: &str, path: &str) -> String {
    format!(
        "/containers/{}/archive?path={}",
        raw::encode(id),
        raw::encode(path)
    )
}
