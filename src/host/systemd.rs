//! What dockside tells systemd about itself: that it serves, ends, reloads, and still lives.
//!
//! The protocol is a datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// Tells the service manager. Without one all of it does nothing.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The service manager that started this process, if one did and wants to know.
    pub fn from_env() -> Self {
        let Some(name) = env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match connect(&name) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog(|name| env::var(name).ok(), std::process::id()),
            },
            Err(error) => {
                warn!("cannot tell the service manager at {name} (NOTIFY_SOCKET): {error}");
                Self::default()
            }
        }
    }

    /// Calls are answered from now on.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Shown by `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Configuration is read again; [`ready`](Self::ready) is to follow.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now
            .tv_sec
            .saturating_mul(1_000_000)
            .saturating_add(now.tv_nsec / 1000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// The process ends, within `limit`, whatever the unit's own patience is.
    pub fn stopping(&self, limit: Duration) {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", limit.as_micros()));
    }

    /// Tells the watchdog that the process lives, twice in each of its periods, for ever.
    ///
    /// It is a task among those that answer calls: where none of these gets on, it does not either.
    pub async fn keep_alive(&self) {
        let Some(period) = self.watchdog else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(period / 2);
        loop {
            ticks.tick().await;
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            warn!("cannot tell the service manager {message:?}: {error}");
        }
    }
}

/// `name` is a path, or a name in the abstract namespace behind an `@`.
fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up whoever tells it.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The watchdog's period, if it watches the process `own`.
fn watchdog(variable: impl Fn(&str) -> Option<String>, own: u32) -> Option<Duration> {
    let microseconds = variable("WATCHDOG_USEC")?
        .parse()
        .ok()
        .filter(|period| *period > 1)?;
    match variable("WATCHDOG_PID") {
        Some(pid) if pid != own.to_string() => None,
        _ => Some(Duration::from_micros(microseconds)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("dockside-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (manager, name) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.to_str().unwrap().to_owned(),
            ),
            (
                UnixDatagram::bind_addr(&abstract_address).unwrap(),
                format!("@{name}"),
            ),
        ] {
            let notifier = Notifier {
                socket: Some(connect(&name).unwrap()),
                watchdog: None,
            };
            notifier.ready();
            assert_eq!(received(&manager), "READY=1");
            notifier.status("two\nlines");
            assert_eq!(received(&manager), "STATUS=two lines");
            notifier.stopping(Duration::from_secs(2));
            assert_eq!(received(&manager), "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000");
            notifier.reloading();
            let text = received(&manager);
            let stamp = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(stamp.parse::<u64>().unwrap() > 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_twice_in_each_period() {
        let (manager, socket) = UnixDatagram::pair().unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier {
            socket: Some(socket),
            watchdog: Some(Duration::from_secs(10)),
        };
        let _ = tokio::time::timeout(Duration::from_secs(21), notifier.keep_alive()).await;
        let mut heard = 0;
        while manager.recv(&mut [0; 64]).is_ok() {
            heard += 1;
        }
        assert_eq!(heard, 5, "at 0, 5, 10, 15 and 20 s");
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let table = |usec: &'static str, pid: Option<&'static str>| {
            watchdog(
                move |name| match name {
                    "WATCHDOG_USEC" => Some(usec.to_owned()),
                    _ => pid.map(str::to_owned),
                },
                7,
            )
        };
        assert_eq!(table("3000000", Some("7")), Some(Duration::from_secs(3)));
        assert_eq!(table("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(table("3000000", Some("8")), None);
        assert_eq!(table("0", None), None);
        assert_eq!(table("soon", None), None);
    }
}
