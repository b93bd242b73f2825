//! A kubelet on the node, which is not part of this project. It has no API server: its pods are files in a folder, and
//! its own API says what it makes of them.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use support::Env;
use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::node::{SOCKET, STATE, engine, property, run, text};

/// How long what a kubelet does by itself may take: it works by periods of seconds, and tries again after minutes.
pub(super) const PATIENCE: Duration = Duration::from_secs(1200);

const UNIT: &str = "/etc/systemd/system/kubelet.service";
const SERVICE: &str = "kubelet.service";

/// What needs no password is served here.
const READ_ONLY: u16 = 10255;

/// Logs, exec and the like are served here, with the certificate that the tests of streams have.
const SECURE: u16 = 10250;
const CERTIFICATE: &str = include_str!("../../../../streaming/tls/cert.pem");
const KEY: &str = include_str!("../../../../streaming/tls/key.pem");

/// A running kubelet.
pub(super) struct Kubelet {
    directory: PathBuf,
}

/// A pod with its one container, by the kubelet's API, and its processes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) ready: bool,
    pub(super) restarts: u64,
    pub(super) address: String,
    pub(super) container: String,
    pub(super) sandbox: String,
    /// The first ones, of the sandbox and of the container.
    pub(super) processes: [i64; 2],
}

impl Kubelet {
    /// Starts it as a service.
    pub(super) fn start(program: &str) -> Self {
        let kubelet = Self {
            directory: format!("{STATE}/kubelet").into(),
        };
        std::fs::create_dir_all(kubelet.directory.join("manifests")).unwrap();
        kubelet.write("cert.pem", CERTIFICATE);
        kubelet.write("key.pem", KEY);
        kubelet.configure(json!({}));
        let directory = kubelet.directory.display();
        std::fs::write(
            UNIT,
            format!(
                "[Unit]\nAfter=docker.service\n\
                 [Service]\nExecStart={program} --config={directory}/config.json --root-dir={directory}/root \
                 --cert-dir={directory}/root --hostname-override=node --v=2\nRestart=always\n"
            ),
        )
        .unwrap();
        run(&["systemctl", "daemon-reload"]);
        run(&["systemctl", "start", SERVICE]);
        kubelet
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).unwrap();
    }

    /// The configuration of a usual node, but for logs that are rotated in seconds.
    fn configure(&self, gates: Value) {
        let place = |name: &str| self.directory.join(name).display().to_string();
        let configuration = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "cgroupDriver": "systemd",
            "failSwapOn": false,
            "staticPodPath": place("manifests"),
            "resolvConf": "",
            "readOnlyPort": READ_ONLY,
            "tlsCertFile": place("cert.pem"),
            "tlsPrivateKeyFile": place("key.pem"),
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerLogMaxSize": "60Ki",
            "containerLogMaxFiles": 4,
            "containerLogMonitorInterval": "3s",
            "featureGates": gates,
        });
        self.write("config.json", &configuration.to_string());
    }

    /// Starts it anew, with these feature gates.
    pub(super) fn restart(&self, gates: Value) {
        self.configure(gates);
        run(&["systemctl", "restart", SERVICE]);
    }

    /// Stops it for a while.
    pub(super) fn without<T>(&self, what: impl FnOnce() -> T) -> T {
        run(&["systemctl", "stop", SERVICE]);
        let result = what();
        run(&["systemctl", "start", SERVICE]);
        result
    }

    /// Ends it, once its pods are gone.
    pub(super) fn end(self) {
        assert_eq!(
            property(SERVICE, "NRestarts"),
            "0",
            "a kubelet does not end by itself"
        );
        run(&["systemctl", "stop", SERVICE]);
        std::fs::remove_file(UNIT).unwrap();
        run(&["systemctl", "daemon-reload"]);
        std::fs::remove_dir_all(&self.directory).unwrap();
    }

    /// Has it run a pod with this container, of the image that all containers here have.
    pub(super) fn add(&self, name: &str, mut container: Value) {
        container["name"] = "main".into();
        container["image"] = Env::get().image("busybox:1").into();
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]},
        });
        // It looks there whenever something changes, and a file may be half written.
        self.write("manifest", &pod.to_string());
        let manifest = self.directory.join("manifests").join(format!("{name}.json"));
        std::fs::rename(self.directory.join("manifest"), manifest).unwrap();
    }

    /// Has it run the pod no more.
    pub(super) fn remove(&self, name: &str) {
        let manifest = self.directory.join("manifests").join(format!("{name}.json"));
        std::fs::remove_file(manifest).unwrap();
    }

    /// Its pods by their names, those of the manifests.
    pub(super) fn pods(&self) -> BTreeMap<String, Told> {
        // It does not answer while it starts.
        let pods = self.ask("/pods").unwrap_or_default();
        let pods: Value = serde_json::from_str(&pods).unwrap_or_default();
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let pods = pods.iter().map(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            let container = text(&status["containerID"])
                .trim_start_matches("docker://")
                .to_owned();
            let inspected = inspect(&container);
            let sandbox = text(&inspected["Config"]["Labels"]["io.kubernetes.sandbox.id"]).to_owned();
            let name = text(&pod["metadata"]["name"])
                .trim_end_matches("-node")
                .to_owned();
            let told = Told {
                ready: status["ready"] == true,
                restarts: status["restartCount"].as_u64().unwrap_or_default(),
                address: text(&pod["status"]["podIP"]).to_owned(),
                processes: [inspect(&sandbox), inspected]
                    .map(|one| one["State"]["Pid"].as_i64().unwrap_or_default()),
                container,
                sandbox,
            };
            (name, told)
        });
        pods.collect()
    }

    /// Waits until there are these pods, in order, and no others, and all are ready.
    pub(super) async fn ready(&self, names: &[&str]) -> BTreeMap<String, Told> {
        let as_wanted =
            |pods: &BTreeMap<String, Told>| pods.keys().eq(names) && pods.values().all(|pod| pod.ready);
        self.comes_to(&format!("{names:?} are ready"), as_wanted).await
    }

    /// Waits until its pods are as wanted.
    pub(super) async fn comes_to(
        &self,
        what: &str,
        wanted: impl Fn(&BTreeMap<String, Told>) -> bool,
    ) -> BTreeMap<String, Told> {
        let end = Instant::now() + PATIENCE;
        loop {
            let pods = self.pods();
            if wanted(&pods) {
                return pods;
            }
            assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}: {pods:#?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// How often probes of a pod have ended so, since the kubelet was started.
    pub(super) fn probes(&self, name: &str, result: &str) -> u64 {
        let metrics = self.ask("/metrics/probes").unwrap_or_default();
        let (pod, result) = (format!("pod=\"{name}-node\""), format!("result=\"{result}\""));
        let lines = metrics.lines().filter(|line| {
            line.starts_with("prober_probe_total") && line.contains(&pod) && line.contains(&result)
        });
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    }

    /// Waits until probes of a pod have succeeded some times more; none fails meanwhile.
    pub(super) async fn probes_go_on(&self, name: &str) {
        let (end, before) = (Instant::now() + PATIENCE, self.probes(name, "successful"));
        let failed = self.probes(name, "failed");
        while self.probes(name, "successful") < before + 8 {
            assert!(Instant::now() < end, "probes of {name} do not go on");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(
            self.probes(name, "failed"),
            failed,
            "probes of {name} that failed"
        );
    }

    /// What it tells everybody, if it does.
    pub(super) fn ask(&self, path: &str) -> Option<String> {
        let stream = TcpStream::connect(("127.0.0.1", READ_ONLY)).ok()?;
        let (status, body) = talk(stream, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        (status == 200).then_some(body)
    }

    /// What it answers to those who may do something with its pods.
    pub(super) fn call(&self, request: &str) -> (u16, String) {
        let config = support::trusting(CERTIFICATE.as_bytes());
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", SECURE)).unwrap();
        talk(StreamOwned::new(connection, stream), request)
    }

    /// What it has complained of since a moment: of each kind one, with how often.
    pub(super) fn complaints(&self, since: SystemTime) -> Complaints {
        let since = since.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let output = Command::new("journalctl")
            .args(["--no-pager", "--quiet", "--output=cat", "--unit", SERVICE])
            .arg(format!("--since=@{since}"))
            .output()
            .unwrap();
        let mut complaints = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            // As in `E1122 11:49:25.483470   27277 file.go:135] "What" err="why"`.
            let words: Vec<_> = line.splitn(2, "] ").collect();
            let ([head, said], true) = (words.as_slice(), line.starts_with(['E', 'W', 'F'])) else {
                continue;
            };
            let place = head.rsplit(' ').next().unwrap_or_default();
            let kind = said.split("\" ").next().unwrap_or_default();
            let (count, _) = complaints
                .entry(format!("{}{place} {kind}", &line[..1]))
                .or_insert_with(|| (0, (*said).to_owned()));
            *count += 1;
        }
        Complaints(complaints)
    }
}

/// What the Engine says of a container, if there is one.
fn inspect(id: &str) -> Value {
    let named = Some(id).filter(|id| !id.is_empty());
    named.and_then(|id| engine().find(id)).unwrap_or_default()
}

/// Kinds of complaints: how many, and the first one.
pub(super) struct Complaints(BTreeMap<String, (usize, String)>);

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (count, first)) in &self.0 {
            let place = kind.split(' ').next().unwrap_or_default();
            writeln!(
                f,
                "  {count:>3} × {place} {}",
                first.chars().take(600).collect::<String>()
            )?;
        }
        Ok(())
    }
}

/// One request by HTTP/1.0, or one that changes the protocol: the status and all that comes until the end.
pub(super) fn talk(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A connection that has changed its protocol may end without TLS's good-bye.
    let end = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{request}: {end:?}: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (
        status.unwrap_or_else(|| panic!("{request}: {head:?}")),
        body.to_owned(),
    )
}
