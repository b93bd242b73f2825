//! Messages to the journal, each with its fields.
//!
//! A message reads there as elsewhere, its fields behind it, and each is a field of the entry as well. So are those of the
//! call that it belongs to: `journalctl -u dockside DOCKSIDE_CONTAINER_ID=…`. The protocol is a datagram of fields, one a line.

use std::{
    fmt::{self, Write as _},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::fstat,
    net::{SendFlags, send},
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The longest value that is sent, in bytes: a datagram has to hold all of them.
const LONGEST: usize = 32 << 10;

/// Writes to the journal, without ever waiting for it: whoever has something to say is answering calls, and a journal that
/// hangs would hang all of them. What it does not take is lost, and that is said once it takes messages again.
pub(super) struct Journal {
    socket: UnixDatagram,
    /// The journal's stream on stderr, which is kept where the journal is being restarted.
    stream: OwnedFd,
    /// How many messages were lost, and not said to be, until now.
    lost: AtomicU64,
}

impl Journal {
    /// The journal, if stderr leads there: systemd says so by the device and the inode.
    pub(super) fn of_stderr() -> Option<Self> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = fstat(io::stderr()).ok()?;
        if stream != format!("{}:{}", stderr.st_dev, stderr.st_ino) {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        let stream = io::stderr().as_fd().try_clone_to_owned().ok()?;
        Self::new(socket, stream).ok()
    }

    fn new(socket: UnixDatagram, stream: OwnedFd) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            stream,
            lost: AtomicU64::new(0),
        })
    }

    /// Sends a message, or its text alone by the stream.
    fn send(&self, message: &[u8], text: &str) {
        self.tell_lost();
        if self.socket.send(message).is_ok() {
            return;
        }
        // Its flags are this call's: the stream is others' as well, and stays as it is.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if send(&self.stream, format!("{text}\n").as_bytes(), flags).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says how many messages were lost, if any were.
    fn tell_lost(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let entry = Entry {
                text: "messages were lost, because the journal did not take them".into(),
                fields: vec![("lost", lost.to_string())],
            };
            if self
                .socket
                .send(&entry.encode(Level::WARN, module_path!()))
                .is_err()
            {
                self.lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }
}

/// The fields of a call, which each of its messages has as well.
#[derive(Default)]
struct Lent(Entry);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut lent = Lent::default();
            attributes.record(&mut lent.0);
            span.extensions_mut().insert(lent);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(lent) = span.extensions_mut().get_mut::<Lent>()
        {
            values.record(&mut lent.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let metadata = event.metadata();
        let mut message = entry.encode(*metadata.level(), metadata.target());
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Lent(lent)) = span.extensions().get::<Lent>() {
                lent.put_fields(&mut message, |name| !entry.has(name));
            }
        }
        self.send(&message, &entry.message());
    }
}

/// One message's text and fields.
#[derive(Default)]
struct Entry {
    text: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.text);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }
}

impl Entry {
    /// The text with the fields behind it.
    fn message(&self) -> String {
        let mut message = self.text.clone();
        for (name, value) in &self.fields {
            let plain = !value.is_empty() && !value.contains([' ', '"', '=', '\n']);
            let _ = match plain {
                true => write!(message, " {name}={value}"),
                false => write!(message, " {name}={value:?}"),
            };
        }
        message
    }

    fn encode(&self, level: Level, target: &str) -> Vec<u8> {
        // As syslog counts.
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        let mut entry = Vec::new();
        put(&mut entry, "PRIORITY", priority);
        put(&mut entry, "SYSLOG_IDENTIFIER", "dockside");
        put(&mut entry, "CODE_MODULE", target);
        put(&mut entry, "MESSAGE", &self.message());
        self.put_fields(&mut entry, |_| true);
        entry
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| *field == name)
    }

    /// Those fields of which `wanted` says so.
    fn put_fields(&self, entry: &mut Vec<u8>, wanted: impl Fn(&str) -> bool) {
        for (name, value) in self.fields.iter().filter(|(name, _)| wanted(name)) {
            let name: String = name
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() {
                        c.to_ascii_uppercase()
                    } else {
                        '_'
                    }
                })
                .collect();
            put(entry, &format!("DOCKSIDE_{name}"), value);
        }
    }
}

/// A value with line ends has its length before it.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(LONGEST);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value.as_bytes()[..end];
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Has `log` write to a journal, whose other ends are the socket of entries and the stream.
    fn writing(log: impl FnOnce(&UnixDatagram, &UnixDatagram)) {
        let (socket, journal) = UnixDatagram::pair().unwrap();
        let (stream, stderr) = UnixDatagram::pair().unwrap();
        for end in [&journal, &stderr] {
            end.set_nonblocking(true).unwrap();
        }
        let subscriber = tracing_subscriber::registry().with(Journal::new(socket, stream.into()).unwrap());
        tracing::subscriber::with_default(subscriber, || log(&journal, &stderr));
    }

    fn received(journal: &UnixDatagram) -> Option<String> {
        let mut buffer = vec![0; 128 << 10];
        let length = journal.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    fn sent(log: impl FnOnce()) -> String {
        let mut entry = None;
        writing(|journal, _| {
            log();
            entry = received(journal);
        });
        entry.unwrap()
    }

    #[test]
    fn a_journal_that_hangs_holds_nobody_up_and_hears_later_what_it_missed() {
        const ALL: usize = 10_000;
        writing(|journal, stderr| {
            for number in 0..ALL {
                tracing::info!(number, "in vain");
            }
            let read = |from| std::iter::from_fn(|| received(from)).collect::<Vec<_>>();
            let (entries, lines) = (read(journal), read(stderr));
            assert!(
                !entries.is_empty() && lines[0].starts_with("in vain number="),
                "{lines:?}"
            );
            tracing::info!("again");
            let after = read(journal);
            let lost = ALL - entries.len() - lines.len();
            assert!(
                lost > 0 && after[0].contains(&format!("\nDOCKSIDE_LOST={lost}\n")),
                "{after:?}"
            );
            assert!(
                after.len() == 2 && after[1].contains("MESSAGE=again\n"),
                "{after:?}"
            );
        });
    }

    #[test]
    fn a_message_has_its_fields_behind_it_and_as_fields() {
        let entry = sent(|| tracing::warn!(container = "c 1", left = 3, "two words"));
        let lines: Vec<_> = entry.lines().collect();
        assert_eq!(lines[0], "PRIORITY=4");
        assert_eq!(lines[1], "SYSLOG_IDENTIFIER=dockside");
        assert_eq!(lines[3], "MESSAGE=two words container=\"c 1\" left=3");
        assert_eq!(lines[4..], ["DOCKSIDE_CONTAINER=c 1", "DOCKSIDE_LEFT=3"]);
    }

    #[test]
    fn a_message_has_the_fields_of_its_call() {
        let entry = sent(|| {
            let call = tracing::error_span!(
                "rpc",
                rpc = "StartContainer",
                container_id = tracing::field::Empty,
                trace_id = tracing::field::Empty
            );
            let _entered = call.enter();
            call.record("container_id", "0a1b");
            tracing::warn!(id = "0a1b", rpc = "its own", "text");
        });
        let lines: Vec<_> = entry.lines().collect();
        assert_eq!(lines[3], "MESSAGE=text id=0a1b rpc=\"its own\"");
        let fields = [
            "DOCKSIDE_ID=0a1b",
            "DOCKSIDE_RPC=its own",
            "DOCKSIDE_CONTAINER_ID=0a1b",
        ];
        assert_eq!(lines[4..], fields);
    }

    #[test]
    fn line_ends_are_counted_and_long_values_cut_off() {
        let entry = sent(|| tracing::error!("two\nlines"));
        assert!(
            entry.contains("MESSAGE\n\u{9}\0\0\0\0\0\0\0two\nlines\n"),
            "{entry:?}"
        );
        let long = "ä".repeat(LONGEST);
        let entry = sent(|| tracing::info!(long, "x"));
        assert!(entry.len() < 3 * LONGEST, "{}", entry.len());
    }
}
