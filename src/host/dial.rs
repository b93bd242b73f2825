//! Connections to ports of a pod, which only a thread in the pod's network namespace can make.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

/// The connection leads to the same host, so it comes about or is refused at once, unless a packet filter
/// swallows it or the listener is overrun.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connecting needs little.
const STACK: usize = 128 * 1024;

/// Connects to `port` at 127.0.0.1, or else at ::1, of a network namespace (`None`: this process's own).
///
/// A socket belongs to the namespace that it was made in, so the thread that enters the namespace ends
/// right after. It is never one of a pool: it could not be trusted to come back.
pub async fn local(namespace: Option<OwnedFd>, port: u16) -> io::Result<tokio::net::TcpStream> {
    let (done, connected) = oneshot::channel();
    thread::Builder::new()
        .name("dial".into())
        .stack_size(STACK)
        .spawn(move || {
            // Nobody waits any more where this fails.
            let _ = done.send(enter_and_connect(namespace, port));
        })?;
    let stream = connected
        .await
        .map_err(|_| io::Error::other("the thread that connects has failed"))??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    tokio::net::TcpStream::from_std(stream)
}

fn enter_and_connect(namespace: Option<OwnedFd>, port: u16) -> io::Result<TcpStream> {
    if let Some(namespace) = namespace {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| io::Error::other(format!("enter the network namespace: {error}")))?;
    }
    let attempt = |ip: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(ip, port), PATIENCE);
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    attempt(v4).or_else(|first| {
        attempt(v6).map_err(|second| {
            io::Error::new(first.kind(), format!("dial {v4}: {first}; dial [{v6}]: {second}"))
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn both_families_are_tried() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let address = listener.local_addr().unwrap();
            let stream = local(None, address.port()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), address);
        }
    }

    #[tokio::test]
    async fn a_refusal_names_both() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = local(None, port).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let text = error.to_string();
        assert!(text.contains("127.0.0.1") && text.contains("::1"), "{text}");
    }

    #[tokio::test]
    async fn what_is_no_network_namespace_is_not_entered() {
        let file = std::fs::File::open("/proc/self/ns/uts").unwrap();
        let error = local(Some(file.into()), 1).await.unwrap_err();
        assert!(
            error.to_string().contains("enter the network namespace"),
            "{error}"
        );
    }
}
