//! The same containers by the Engine API alone: create and start, on kept connections, and nothing else.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use support::{Daemon, Engine, Env};
use tokio::{net::UnixStream, time::timeout};

use crate::kubelet::Pod;

/// The longest that one call may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that makes pods without a network.
#[derive(Clone)]
pub(crate) struct Bare {
    shared: Arc<Shared>,
}

struct Shared {
    socket: PathBuf,
    /// As many as calls were made at once.
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    pause: Value,
    containers: Vec<Value>,
    /// Begins every name, so that the daemon's clean-up finds what a failure leaves.
    prefix: String,
    cgroup: String,
    made: Mutex<Vec<Pod>>,
}

impl Bare {
    /// Containers like those of a pod that dockside has made, without its labels.
    pub(crate) fn like(pod: &Pod, daemon: &Daemon) -> Self {
        let engine = Engine::get();
        let body = |id: &String| {
            let inspect = engine.inspect(id);
            let mut body = inspect["Config"].clone();
            body["HostConfig"] = inspect["HostConfig"].clone();
            body["Labels"] = Value::Null;
            body
        };
        let pause = body(&pod.sandbox);
        assert_eq!(pause["HostConfig"]["NetworkMode"], "none");
        let mut containers: Vec<_> = pod.containers.iter().map(body).collect();
        for body in &mut containers {
            // The pause container's, which the Engine refuses to be told.
            body["Hostname"] = "".into();
            body["Domainname"] = "".into();
        }
        Self {
            shared: Arc::new(Shared {
                socket: Env::get().engine.clone(),
                idle: Mutex::default(),
                pause,
                containers,
                prefix: format!("bare_{}_", daemon.name()),
                cgroup: format!("{}/{}", Env::get().cgroup, daemon.name()),
                made: Mutex::default(),
            }),
        }
    }

    /// Runs a pause container and the two that join its namespaces.
    pub(crate) async fn run_pod(&self, name: &str) {
        let cgroup = format!("{}/bare{name}", self.shared.cgroup);
        let mut pause = self.shared.pause.clone();
        pause["HostConfig"]["CgroupParent"] = cgroup.as_str().into();
        let pause = self.run(&format!("{name}_pause"), &pause).await;
        let mut containers = Vec::new();
        for (index, body) in self.shared.containers.iter().enumerate() {
            let mut body = body.clone();
            body["HostConfig"]["CgroupParent"] = cgroup.as_str().into();
            for namespace in ["NetworkMode", "IpcMode"] {
                body["HostConfig"][namespace] = format!("container:{pause}").into();
            }
            containers.push(self.run(&format!("{name}_{index}"), &body).await);
        }
        self.shared.made.lock().unwrap().push(Pod {
            sandbox: pause,
            containers,
        });
    }

    async fn run(&self, name: &str, body: &Value) -> String {
        let path = format!("/containers/create?name={}{name}", self.shared.prefix);
        let answer = self.call(Method::POST, &path, body.to_string()).await;
        let created: Value = serde_json::from_slice(&answer).unwrap();
        let id = created["Id"].as_str().unwrap().to_owned();
        self.call(Method::POST, &format!("/containers/{id}/start"), String::new())
            .await;
        id
    }

    /// Removes all containers, those of a pod before the one that they have joined.
    pub(crate) async fn remove_pods(&self, parallel: usize) {
        let made = std::mem::take(&mut *self.shared.made.lock().unwrap());
        crate::in_parallel(made, parallel, |pod| {
            let this = self.clone();
            async move {
                for id in pod.containers.iter().chain([&pod.sandbox]) {
                    let path = format!("/containers/{id}?force=1&v=1");
                    this.call(Method::DELETE, &path, String::new()).await;
                }
            }
        })
        .await;
    }

    async fn call(&self, method: Method, path: &str, body: String) -> Bytes {
        let idle = self.shared.idle.lock().unwrap().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await,
        };
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, "docker")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        connection.ready().await.unwrap();
        let response = timeout(PATIENCE, connection.send_request(request)).await;
        let response = response.unwrap_or_else(|_| panic!("{method} {path}: no answer in {PATIENCE:?}"));
        let response = response.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(
            status.is_success(),
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        self.shared.idle.lock().unwrap().push(connection);
        body
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = UnixStream::connect(&self.shared.socket).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}
