//! Carries bytes between a client's streams and the Engine's connection to a process.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::debug;

use super::watched::{Questions, Watched};
use crate::{
    engine::{EngineError, Hijacked, StdStream, Stdcopy},
    error::{Error, Result},
    streaming::session::Size,
};

/// After the command's end, output that comes in pauses shorter than this is still taken.
const QUIET: Duration = Duration::from_millis(500);

/// The words by which the Engine begins the reason why a command could not be started. It sends them
/// as the command's output.
const NOT_STARTED: &[u8] = b"OCI runtime exec failed";

/// How long the connection of a command that could not be started may take to end after that.
const HELD: Duration = Duration::from_secs(1);

/// The memory that is read into, in bytes.
const READ: usize = 32 * 1024;

/// How often a size is set again that the Engine did not take, and the time before the second attempt.
const RESIZES: u32 = 6;
const RESIZE_PAUSE: Duration = Duration::from_millis(20);

/// Where output goes.
pub(super) struct Output {
    stdout: Option<mpsc::Sender<Bytes>>,
    stderr: Option<mpsc::Sender<Bytes>>,
    /// `None` with a terminal, whose output is not framed.
    frames: Option<Stdcopy>,
    beginning: Beginning,
}

/// What became of the first piece of output.
enum Beginning {
    /// There is none yet; the Engine's reason may come in its place.
    Open,
    /// It looks like the Engine's reason.
    Held(BytesMut),
    /// It was the command's.
    Passed,
}

/// Carries input and output until the output ends, or the `watched` command does.
pub(super) async fn pump(
    connection: Hijacked,
    stdin: Option<mpsc::Receiver<Bytes>>,
    output: &mut Output,
    watched: Option<Watched<'_>>,
) -> Result<()> {
    let (reader, writer) = connection.stream.into_split();
    let input = async {
        // Not dropped before the output's end: dropping it is the end of the input.
        let _writer = feed(stdin, writer, watched).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        done = output.copy(connection.read, reader, watched) => done,
        () = input => Ok(()),
    }
}

/// Writes what the client sends, and half-closes after its end.
async fn feed(
    stdin: Option<mpsc::Receiver<Bytes>>,
    mut writer: OwnedWriteHalf,
    watched: Option<Watched<'_>>,
) -> OwnedWriteHalf {
    let Some(mut stdin) = stdin else {
        return writer;
    };
    let mut is_empty = true;
    while let Some(bytes) = stdin.recv().await {
        is_empty = false;
        if let Err(error) = writer.write_all(&bytes).await {
            debug!("a process takes no more input: {error}");
            // The client must not be held up by input that nobody wants.
            while stdin.recv().await.is_some() {}
            return writer;
        }
    }
    if let (true, Some(watched)) = (is_empty, watched) {
        watched.started().await;
    }
    // The connection may have ended meanwhile, which its output shows too.
    let _ = writer.shutdown().await;
    writer
}

/// Sets a terminal's size, `first` and whenever the client's changes. Never ends.
pub(super) async fn resizing<F: Future<Output = std::result::Result<(), EngineError>>>(
    mut first: Option<Size>,
    mut sizes: mpsc::Receiver<Size>,
    set: impl Fn(Size) -> F,
) {
    loop {
        let size = match first.take() {
            None => sizes.recv().await,
            size => size,
        };
        let Some(mut size) = size else { break };
        let mut pause = RESIZE_PAUSE;
        for attempt in 1..=RESIZES {
            while let Ok(newer) = sizes.try_recv() {
                size = newer;
            }
            match set(size).await {
                Ok(()) => break,
                Err(error) if attempt == RESIZES => debug!("{error}"),
                // The process is being started.
                Err(_) => sleep(pause).await,
            }
            pause *= 2;
        }
    }
    std::future::pending().await
}

impl Output {
    /// Output of a process that has a terminal or not.
    pub(super) fn new(
        tty: bool,
        stdout: Option<mpsc::Sender<Bytes>>,
        stderr: Option<mpsc::Sender<Bytes>>,
    ) -> Self {
        Self {
            stdout,
            stderr,
            frames: (!tty).then(Stdcopy::default),
            beginning: Beginning::Passed,
        }
    }

    /// Looks out for the Engine's reason why a command could not be started.
    pub(super) fn of_command(mut self) -> Self {
        self.beginning = Beginning::Open;
        self
    }

    /// The Engine's reason, if there was nothing else.
    pub(super) fn reason(&self) -> Option<String> {
        match &self.beginning {
            Beginning::Held(text) => Some(String::from_utf8_lossy(text).trim().to_owned()),
            _ => None,
        }
    }

    /// Passes on what was held back.
    pub(super) async fn release(&mut self) {
        if let Beginning::Held(text) = std::mem::replace(&mut self.beginning, Beginning::Passed) {
            send(&mut self.stdout, text.freeze()).await;
        }
    }

    /// Whether more is to be read before it is known whose words the first ones are.
    fn is_holding(&self) -> bool {
        matches!(self.beginning, Beginning::Held(_))
    }

    async fn copy(
        &mut self,
        read: Bytes,
        mut reader: OwnedReadHalf,
        watched: Option<Watched<'_>>,
    ) -> Result<()> {
        self.take(read).await?;
        let mut buffer = BytesMut::new();
        let mut questions = Questions::default();
        let mut ended = false;
        loop {
            if buffer.capacity() < READ / 8 {
                buffer.reserve(READ);
            }
            let patience = match (ended, self.is_holding()) {
                (true, _) => QUIET,
                (false, true) => HELD,
                (false, false) => questions.pause(),
            };
            let reading = reader.read_buf(&mut buffer);
            let read = match watched {
                None => Ok(reading.await),
                Some(_) => timeout(patience, reading).await,
            };
            match (read, watched) {
                (Ok(Ok(0)), _) => return Ok(()),
                (Ok(Ok(_)), _) => {
                    questions = Questions::default();
                    self.take(buffer.split().freeze()).await?;
                }
                (Ok(Err(error)), _) => return Err(Error::host("read the process's output")(error)),
                (Err(_), _) if ended => return Ok(()),
                (Err(_), _) if self.is_holding() => self.release().await,
                (Err(_), Some(watched)) => {
                    ended = watched.has_ended().await?;
                    questions.asked();
                }
                // Without a command to ask about, reading has no limit.
                (Err(_), None) => {}
            }
        }
    }

    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        let Some(frames) = &mut self.frames else {
            if !bytes.is_empty() {
                self.first_or_further(bytes).await;
            }
            return Ok(());
        };
        frames.push(&bytes);
        while let Some(frames) = &mut self.frames {
            match frames.piece().map_err(Error::Internal)? {
                None => break,
                Some((StdStream::Stdout, piece)) => self.first_or_further(piece).await,
                Some((StdStream::Stderr | StdStream::System, piece)) => {
                    self.release().await;
                    send(&mut self.stderr, piece).await;
                }
            }
        }
        Ok(())
    }

    async fn first_or_further(&mut self, piece: Bytes) {
        match &mut self.beginning {
            Beginning::Passed => send(&mut self.stdout, piece).await,
            Beginning::Open if piece.starts_with(NOT_STARTED) => {
                self.beginning = Beginning::Held(BytesMut::from(&piece[..]));
            }
            // A long reason comes in several pieces.
            Beginning::Held(text) if text.len() + piece.len() <= READ => text.extend_from_slice(&piece),
            Beginning::Open | Beginning::Held(_) => {
                self.release().await;
                self.beginning = Beginning::Passed;
                send(&mut self.stdout, piece).await;
            }
        }
    }
}

/// Sends, or drops what nobody wants: the process must not be held up by a stream that was closed.
async fn send(stream: &mut Option<mpsc::Sender<Bytes>>, bytes: Bytes) {
    if let Some(sender) = stream
        && sender.send(bytes).await.is_err()
    {
        *stream = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    async fn run(tty: bool, written: &'static [&'static [u8]]) -> (Option<String>, Vec<u8>, Vec<u8>) {
        let (engine, mut process) = UnixStream::pair().unwrap();
        let connection = Hijacked {
            stream: engine,
            read: Bytes::from_static(written[0]),
        };
        let writing = tokio::spawn(async move {
            for piece in &written[1..] {
                process.write_all(piece).await.unwrap();
                sleep(Duration::from_millis(5)).await;
            }
        });
        let (out, mut stdout) = mpsc::channel(1);
        let (err, mut stderr) = mpsc::channel(1);
        let drain = |mut from: mpsc::Receiver<Bytes>| async move {
            let mut all = Vec::new();
            while let Some(piece) = from.recv().await {
                all.extend_from_slice(&piece);
            }
            all
        };
        let (stdout, stderr) = (
            drain(std::mem::replace(&mut stdout, mpsc::channel(1).1)),
            drain(std::mem::replace(&mut stderr, mpsc::channel(1).1)),
        );
        let work = async {
            let mut output = Output::new(tty, Some(out), Some(err)).of_command();
            pump(connection, None, &mut output, None).await.unwrap();
            output.reason()
        };
        let (reason, stdout, stderr) = tokio::join!(work, stdout, stderr);
        writing.await.unwrap();
        (reason, stdout, stderr)
    }

    #[tokio::test]
    async fn output_is_told_apart() {
        let written: &[&[u8]] = &[
            b"\x01\0\0\0\0\0\0\x02o",
            b"1\x02\0\0\0\0\0\0\x02e1\x01\0\0\0\0\0\0\x01!",
        ];
        assert_eq!(run(false, written).await, (None, b"o1!".into(), b"e1".into()));
    }

    #[tokio::test]
    async fn the_reason_of_a_start_that_failed_is_no_output() {
        let (reason, stdout, _) = run(true, &[b"", b"OCI runtime exec failed: no", b" such file\r\n"]).await;
        assert_eq!(reason.unwrap(), "OCI runtime exec failed: no such file");
        assert_eq!(stdout, b"");
    }

    #[tokio::test]
    async fn output_that_begins_otherwise_is_passed_on() {
        let (reason, stdout, _) = run(true, &[b"x", b"OCI runtime exec failed"]).await;
        assert_eq!((reason, &stdout[..]), (None, &b"xOCI runtime exec failed"[..]));
    }

    #[tokio::test]
    async fn input_is_half_closed_and_output_goes_on() {
        let (engine, mut process) = UnixStream::pair().unwrap();
        let connection = Hijacked {
            stream: engine,
            read: Bytes::new(),
        };
        let (input, stdin) = mpsc::channel(4);
        let (out, mut stdout) = mpsc::channel(4);
        let mut output = Output::new(true, Some(out), None);
        let client = async move {
            input.send(Bytes::from_static(b"hello")).await.unwrap();
            drop(input);
            let mut all = Vec::new();
            process.read_to_end(&mut all).await.unwrap();
            process.write_all(&all).await.unwrap();
            drop(process);
            stdout.recv().await.unwrap()
        };
        let (pumped, answer) = tokio::join!(pump(connection, Some(stdin), &mut output, None), client);
        pumped.unwrap();
        assert_eq!(&answer[..], b"hello");
    }

    #[tokio::test]
    async fn a_closed_stream_does_not_hold_the_process_up() {
        let (engine, mut process) = UnixStream::pair().unwrap();
        let connection = Hijacked {
            stream: engine,
            read: Bytes::new(),
        };
        let (out, stdout) = mpsc::channel(1);
        drop(stdout);
        let mut output = Output::new(true, Some(out), None);
        let client = async move {
            process.write_all(&vec![0; 1 << 20]).await.unwrap();
        };
        let (pumped, ()) = tokio::join!(pump(connection, None, &mut output, None), client);
        pumped.unwrap();
    }
}
