//! What the tests do to registries: images of a test's own, and a registry that falls silent.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use support::{Engine, Env};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The first byte of what a client of TLS says.
const TLS_HANDSHAKE: u8 = 22;

/// `sha256:…` of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    format!("sha256:{}", String::from_utf8_lossy(&output.stdout[..64]))
}

/// One call to the open registry: the status, the `Location` and the body.
fn call(method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let registry = &Env::get().registry;
    let path = path.strip_prefix(&format!("http://{registry}")).unwrap_or(path);
    let mut stream = TcpStream::connect(registry).unwrap();
    // HTTP/1.0: the connection ends with the answer.
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {registry}\r\nAccept: {MANIFEST}\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut location = String::new();
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        match line.trim().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("location") => location = value.into(),
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    answer.read_to_end(&mut body).unwrap();
    (status, location, body)
}

fn get(path: &str) -> Value {
    let (status, _, body) = call("GET", path, "", b"");
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn put_blob(repository: &str, bytes: &[u8]) -> Value {
    let sum = digest(bytes);
    let (_, place, _) = call("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
    let place = format!("{place}&digest={sum}");
    let (status, _, answer) = call("PUT", &place, "application/octet-stream", bytes);
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
    json!({ "digest": sum, "size": bytes.len() })
}

/// A repository that no other run has: with `--keep` the Engine goes on with what it has.
pub(crate) fn own(repository: &str) -> String {
    format!("{repository}-{}", std::process::id())
}

/// An image that only one test has.
pub(crate) struct Pushed {
    pub(crate) digest: String,
    pub(crate) id: String,
}

impl Pushed {
    /// Which digest the Engine takes as its id depends on its store.
    fn new(digest: String, config: String) -> Self {
        let by_manifest = Engine::get().containerd_store();
        Self {
            id: if by_manifest { digest.clone() } else { config },
            digest,
        }
    }
}

/// Pushes an image like `original` under `repository` and `tags`; its label makes it one of its own.
/// With `more` it has one more layer, of so many bytes that cannot be compressed.
pub(crate) fn push(repository: &str, tags: &[&str], original: &str, more: usize) -> Pushed {
    let (name, tag) = original.split_once(':').unwrap();
    let mut manifest = get(&format!("/v2/{name}/manifests/{tag}"));
    let config = manifest["config"]["digest"].as_str().unwrap();
    let mut config = get(&format!("/v2/{name}/blobs/{config}"));
    config["config"]["Labels"]["only-for"] = repository.into();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={name}");
        assert_eq!(call("POST", &path, "", b"").0, 201, "{path}");
    }
    if more > 0 {
        let dir = Env::get().scratch().join(format!("layer-{repository}"));
        std::fs::create_dir_all(&dir).unwrap();
        let script =
            format!("head -c {more} /dev/urandom >more && tar -cf more.tar more && gzip -k more.tar");
        let made = Command::new("sh")
            .args(["-ec", &script])
            .current_dir(&dir)
            .status();
        assert!(made.unwrap().success());
        let [tar, packed] = ["more.tar", "more.tar.gz"].map(|name| std::fs::read(dir.join(name)).unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
        let mut layer = put_blob(repository, &packed);
        layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
        manifest["layers"].as_array_mut().unwrap().push(layer);
        let diffs = config["rootfs"]["diff_ids"].as_array_mut().unwrap();
        diffs.push(digest(&tar).into());
        config["history"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "created_by": "more" }));
    }
    let mut blob = put_blob(repository, config.to_string().as_bytes());
    blob["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
    let id = blob["digest"].as_str().unwrap().to_owned();
    manifest["config"] = blob;
    let text = manifest.to_string();
    for tag in tags {
        put_manifest(repository, tag, MANIFEST, &text);
    }
    Pushed::new(digest(text.as_bytes()), id)
}

fn put_manifest(repository: &str, tag: &str, kind: &str, text: &str) {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let (status, _, answer) = call("PUT", &path, kind, text.as_bytes());
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
}

/// An index of images for two kinds of processors, only one of which is this machine's.
pub(crate) struct PushedIndex {
    pub(crate) index: Pushed,
    /// The image in it for this machine.
    pub(crate) image: Pushed,
}

/// Pushes an index under `repository` and `tag`, of an image like `original` and the same for another processor.
pub(crate) fn push_index(repository: &str, tag: &str, original: &str) -> PushedIndex {
    let image = push(repository, &["own"], original, 0);
    let mut manifest = get(&format!("/v2/{repository}/manifests/own"));
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let mut foreign = get(&format!("/v2/{repository}/blobs/{config}"));
    let own = foreign["architecture"].take();
    foreign["architecture"] = "s390x".into();
    let mut platforms = vec![(own, manifest.to_string())];
    let blob = put_blob(repository, foreign.to_string().as_bytes());
    manifest["config"]["digest"] = blob["digest"].clone();
    manifest["config"]["size"] = blob["size"].clone();
    put_manifest(repository, "foreign", MANIFEST, &manifest.to_string());
    platforms.insert(0, ("s390x".into(), manifest.to_string()));
    let manifests: Vec<_> = platforms
        .iter()
        .map(|(architecture, text)| {
            json!({
                "mediaType": MANIFEST, "digest": digest(text.as_bytes()), "size": text.len(),
                "platform": { "architecture": architecture, "os": "linux" },
            })
        })
        .collect();
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests }).to_string();
    put_manifest(repository, tag, kind, &index);
    PushedIndex {
        index: Pushed::new(digest(index.as_bytes()), config),
        image,
    }
}

/// Where a registry falls silent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silent {
    /// It does not answer when it is asked for the manifest.
    AtManifest,
    /// It sends the first half of the layer.
    InLayer,
}

/// A registry that has one image, `silent:1`, and sends only a part of it.
pub(crate) struct SilentRegistry {
    pub(crate) address: String,
    /// Something for each client that has been left waiting.
    silent: mpsc::Receiver<()>,
}

impl SilentRegistry {
    pub(crate) fn start(silent: Silent) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (told, fell_silent) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let told = told.clone();
                thread::spawn(move || serve(stream, silent, &told));
            }
        });
        Self {
            address,
            silent: fell_silent,
        }
    }

    pub(crate) fn image(&self) -> String {
        format!("{}/silent:1", self.address)
    }

    /// Waits until a client is waiting in vain.
    pub(crate) fn has_fallen_silent(&self) {
        assert_eq!(self.silent.recv_timeout(Duration::from_secs(30)), Ok(()));
    }
}

fn serve(stream: TcpStream, silent: Silent, told: &mpsc::Sender<()>) {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/none"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", "1".repeat(64))] },
    })
    .to_string();
    let size = 50_000_000;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": digest(config.as_bytes()), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            // The Engine would share the download of a layer that another test has as well.
            "digest": digest(stream.local_addr().unwrap().to_string().as_bytes()), "size": size,
        }],
    })
    .to_string();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    // containerd tries TLS first, and goes on without where it is answered by HTTP.
    if reader
        .fill_buf()
        .is_ok_and(|bytes| bytes.first() == Some(&TLS_HANDSHAKE))
    {
        return stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
    }
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
            line.clear();
        }
        let [kind, body] = match request.split(' ').nth(1).unwrap_or_default() {
            path if path.contains("/manifests/") => [MANIFEST, manifest.as_str()],
            path if path.ends_with(&digest(config.as_bytes())) => ["application/json", config.as_str()],
            path if path.contains("/blobs/") => ["application/octet-stream", ""],
            _ => ["application/json", "{}"],
        };
        if kind == MANIFEST && silent == Silent::AtManifest {
            return wait(reader, told);
        }
        let length = if body.is_empty() { size } else { body.len() };
        let sum = digest(body.as_bytes());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Docker-Content-Digest: {sum}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        if request.starts_with("HEAD") {
            continue;
        }
        if body.is_empty() {
            stream.write_all(&vec![0; size / 2]).unwrap();
            return wait(reader, told);
        }
        stream.write_all(body.as_bytes()).unwrap();
    }
}

/// Sends nothing until the client goes.
fn wait(mut reader: BufReader<TcpStream>, told: &mpsc::Sender<()>) {
    let _ = told.send(());
    let _ = reader.read(&mut [0]);
}
