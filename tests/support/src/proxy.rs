//! A proxy between a daemon and the Engine: it counts calls, and gets in their way where a test says so.

mod connection;
mod garble;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{net::UnixListener, sync::watch};

use crate::{Call, Calls, Env};

/// How long what comes about by itself may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is done with a call.
#[derive(Debug, Clone)]
pub enum Action {
    /// It is passed on once the rules have been cleared.
    Hold,
    /// It is passed on, and its answer is held back until the rules have been cleared.
    HoldAnswer,
    /// It is passed on, and its answer is held back for this time.
    DelayAnswer(Duration),
    /// The connection is closed; the Engine hears nothing of the call.
    Refuse,
    /// It is answered with this status and body; the Engine hears nothing of it.
    Answer(u16, Value),
    /// It is passed on, and the connection is closed after so many bytes of the answer's body. With
    /// [`usize::MAX`] not even the answer's head arrives.
    Cut(usize),
    /// It is never answered; the Engine hears nothing of it.
    Hang,
    /// It is passed on. Of its answer's pieces, which are events, some are lost, some come twice and some change places,
    /// as the number decides.
    Garble(u64),
}

/// Which calls something is done with.
pub struct Rule {
    matches: Box<dyn Fn(&Call) -> bool + Send>,
    left: usize,
    action: Action,
}

impl Rule {
    /// Every call of a method and a path template (see [`Call`]).
    pub fn on(method: &str, template: &str, action: Action) -> Self {
        let (method, template) = (method.to_owned(), template.to_owned());
        Self::when(
            move |call| call.method == method && call.template == template,
            action,
        )
    }

    /// Every call that `matches`.
    pub fn when(matches: impl Fn(&Call) -> bool + Send + 'static, action: Action) -> Self {
        Self {
            matches: Box::new(matches),
            left: usize::MAX,
            action,
        }
    }

    /// Only the first `count` of them.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.left = count;
        self
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Up,
    /// Connections are accepted, and nothing moves.
    Frozen,
    /// There is no socket, and no connection.
    Down,
}

struct Shared {
    engine: PathBuf,
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Calls>,
    mode: watch::Sender<Mode>,
    /// Changes each time the rules are cleared.
    cleared: watch::Sender<()>,
}

impl Shared {
    /// Notes a call and says what is to be done with it.
    fn meet(&self, call: Call) -> Option<Action> {
        let mut rules = lock(&self.rules);
        let rule = rules
            .iter_mut()
            .find(|rule| rule.left > 0 && (rule.matches)(&call));
        let action = rule.map(|rule| {
            rule.left = rule.left.saturating_sub(usize::from(rule.left != usize::MAX));
            rule.action.clone()
        });
        lock(&self.calls).0.push(call);
        action
    }
}

/// A running proxy. It has a thread of its own, so a test may block; it ends when it is dropped.
pub struct EngineProxy {
    socket: PathBuf,
    shared: Arc<Shared>,
}

impl EngineProxy {
    /// A proxy in front of the environment's Engine.
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "p{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = Path::new("/run/dockside-test");
        std::fs::create_dir_all(dir).unwrap();
        let shared = Arc::new(Shared {
            engine: Env::get().engine.clone(),
            rules: Mutex::default(),
            calls: Mutex::default(),
            mode: watch::Sender::new(Mode::Up),
            cleared: watch::Sender::default(),
        });
        let proxy = Self {
            socket: dir.join(name),
            shared,
        };
        let (socket, shared, listening) = (
            proxy.socket.clone(),
            Arc::clone(&proxy.shared),
            proxy.shared.mode.subscribe(),
        );
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(listen(socket, shared, listening, ready));
        });
        is_ready.recv().expect("the proxy listens");
        proxy
    }

    /// The socket to give to a daemon.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Does something with calls from now on. Of several rules the first that matches counts.
    pub fn rule(&self, rule: Rule) {
        lock(&self.shared.rules).push(rule);
    }

    /// Passes every call on again.
    pub fn clear_rules(&self) {
        lock(&self.shared.rules).clear();
        self.shared.cleared.send_replace(());
    }

    /// The calls since the last time.
    pub fn take(&self) -> Calls {
        std::mem::take(&mut *lock(&self.shared.calls))
    }

    /// The calls until now, which stay.
    pub fn calls(&self) -> Calls {
        lock(&self.shared.calls).clone()
    }

    /// Waits until there has been a call of this sort since the last [`take`](Self::take).
    pub async fn met(&self, method: &str, template: &str) {
        let began = Instant::now();
        while self.calls().of(method, template) == 0 {
            assert!(
                began.elapsed() < PATIENCE,
                "no {method} {template}:\n{}",
                self.calls()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes all connections and takes no new one, as if the Engine had ended.
    pub fn go_down(&self) {
        self.shared.mode.send_replace(Mode::Down);
        crate::eventually("the proxy's socket is gone", PATIENCE, || {
            (!self.socket.exists()).then_some(())
        });
    }

    /// Takes connections, and lets nothing through in either direction, as if the Engine were stopped.
    pub fn freeze(&self) {
        self.shared.mode.send_replace(Mode::Frozen);
    }

    /// Is again as it was at the start.
    pub fn come_back(&self) {
        self.shared.mode.send_replace(Mode::Up);
        crate::eventually("the proxy's socket is there", PATIENCE, || {
            self.socket.exists().then_some(())
        });
    }
}

impl Drop for EngineProxy {
    fn drop(&mut self) {
        // The thread ends as well, because nobody can change the mode any more.
        self.shared.mode.send_replace(Mode::Down);
    }
}

async fn listen(
    socket: PathBuf,
    shared: Arc<Shared>,
    mut mode: watch::Receiver<Mode>,
    ready: std::sync::mpsc::Sender<()>,
) {
    // Connections see the mode, and end with it; only the owner may keep the thread.
    let weak = Arc::downgrade(&shared);
    drop(shared);
    loop {
        if *mode.borrow() != Mode::Down {
            let listener = UnixListener::bind(&socket).unwrap();
            let _ = ready.send(());
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (Ok((stream, _)), Some(shared)) = (accepted, weak.upgrade()) else { break };
                        tokio::spawn(connection::serve(stream, shared));
                    }
                    _ = mode.wait_for(|mode| *mode == Mode::Down) => break,
                }
            }
            let _ = std::fs::remove_file(&socket);
        }
        if weak.upgrade().is_none() || mode.wait_for(|mode| *mode != Mode::Down).await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
