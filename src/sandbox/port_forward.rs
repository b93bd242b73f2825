use std::{
    fs::File,
    os::fd::OwnedFd,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tracing::debug;
use translate::Invalid;

use super::Sandboxes;
use crate::{
    error::{Error, Result},
    host::dial,
    store::Sandbox,
    streaming::{Ports, Session, session::Forward},
};

/// What is read from a pod at once, in bytes.
const READ: usize = 32 * 1024;

/// Once a pod has ended its half, how long its client may send nothing before the connection is over. Clients of
/// older kubectls end theirs only after the error stream has ended, and would wait for ever.
const SILENCE: Duration = Duration::from_secs(1);

impl Sandboxes {
    /// A URL at which ports of a pod can be reached.
    pub async fn port_forward(
        self: Arc<Self>,
        request: cri::PortForwardRequest,
    ) -> Result<cri::PortForwardResponse> {
        let announced = request
            .port
            .iter()
            .map(|&port| {
                u16::try_from(port)
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| Invalid::new("port", format!("{port} is not between 1 and 65535")))
            })
            .collect::<std::result::Result<_, _>>()?;
        let (sandbox, _) = self.alive(&request.pod_sandbox_id).await?;
        let sandboxes = Arc::clone(&self);
        let ports = Ports::new(announced, move |forward| {
            Arc::clone(&sandboxes).forward(Arc::clone(&sandbox), forward)
        });
        let url = self.streaming.url(Session::PortForward(ports))?;
        Ok(cri::PortForwardResponse { url })
    }

    /// Connects to a port of a pod, and a client with it.
    async fn forward(self: Arc<Self>, sandbox: Arc<Sandbox>, forward: Forward) {
        let port = forward.port;
        let connected = tokio::select! {
            connected = self.connect(&sandbox, port) => connected,
            () = forward.output.closed() => return,
        };
        match connected {
            Ok(stream) => carry(stream, forward).await,
            Err(error) => {
                let why = format!("failed to connect to port {port} in the pod: {error}");
                debug!(sandbox = sandbox.id, "{why}");
                // A client that has gone need not know.
                let _ = forward.error.send(why);
            }
        }
    }

    async fn connect(&self, sandbox: &Sandbox, port: u16) -> Result<TcpStream> {
        let namespace = self.namespace(sandbox).await?;
        dial::local(namespace, port)
            .await
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// The pod's network namespace; `None` is the host's.
    async fn namespace(&self, sandbox: &Sandbox) -> Result<Option<OwnedFd>> {
        let (_, pid) = self.alive(&sandbox.id).await?;
        if sandbox.host_network {
            return Ok(None);
        }
        // Named after the sandbox's id, which is never used twice: this is no other pod's.
        if let Some(pin) = self.network.pin(&sandbox.id) {
            let opened = File::open(&pin).map_err(Error::host(format!("open {}", pin.display())))?;
            return Ok(Some(opened.into()));
        }
        let path = format!("/proc/{pid}/ns/net");
        let opened = File::open(&path).map_err(Error::host(format!("open {path}")))?;
        // The number may have been given to another process before the file was opened; not if the pause
        // process has it still.
        let (_, now) = self.alive(&sandbox.id).await?;
        if now != pid {
            return Err(ended(&sandbox.id));
        }
        Ok(Some(opened.into()))
    }

    /// A sandbox whose pause process runs, and that process.
    async fn alive(&self, id: &str) -> Result<(Arc<Sandbox>, i32)> {
        let (sandbox, inspect) = self.store.inspect_sandbox(id).await?;
        if !inspect.state.running || inspect.state.pid <= 0 {
            return Err(ended(&sandbox.id));
        }
        Ok((sandbox, inspect.state.pid))
    }
}

fn ended(id: &str) -> Error {
    Error::Precondition(format!("sandbox {id} does not run"))
}

/// Carries bytes both ways, and the end of each way, until both have ended or the client has gone.
async fn carry(stream: TcpStream, forward: Forward) {
    let Forward {
        mut input,
        output,
        mut error,
        ..
    } = forward;
    let (mut reader, mut writer) = stream.into_split();
    // Odd while the pod is being written to.
    let writes = AtomicU64::new(0);
    let inward = async {
        while let Some(bytes) = input.recv().await {
            writes.fetch_add(1, Relaxed);
            if writer.write_all(&bytes).await.is_err() {
                // It takes no more; what it has to say still comes the other way.
                while input.recv().await.is_some() {}
                return;
            }
            writes.fetch_add(1, Relaxed);
        }
        let _ = writer.shutdown().await;
    };
    let outward = async move {
        let mut buffer = BytesMut::new();
        loop {
            if buffer.capacity() < READ / 8 {
                buffer.reserve(READ);
            }
            tokio::select! {
                read = reader.read_buf(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Outward::Ended,
                    Ok(_) => {}
                },
                () = output.closed() => return Outward::ClientGone,
            }
            if output.send(buffer.split().freeze()).await.is_err() {
                return Outward::ClientGone;
            }
        }
    };
    let (mut inward, mut outward) = (pin!(inward), pin!(outward));
    tokio::select! {
        () = &mut inward => {
            outward.await;
        }
        ended = &mut outward => {
            if matches!(ended, Outward::Ended) {
                // The pod may read on, as long as somebody is there who writes.
                loop {
                    let before = writes.load(Relaxed);
                    tokio::select! {
                        () = &mut inward => return,
                        () = error.closed() => return,
                        () = sleep(SILENCE) => {}
                    }
                    let now = writes.load(Relaxed);
                    if now == before && now.is_multiple_of(2) {
                        return;
                    }
                }
            }
        }
    }
}

/// How the way to the client ended.
enum Outward {
    /// The pod has half-closed.
    Ended,
    /// Nobody reads any more, so nobody writes either.
    ClientGone,
}
