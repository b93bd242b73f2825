//! Tokens that stand for a session until its client has connected.
//!
//! A token is all that a client needs to run a command in a container, so it can be used once, soon,
//! and not be guessed. It is never logged.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

/// How long a client may take to connect.
pub(super) const LIFE: Duration = Duration::from_secs(60);

/// How many may be outstanding.
pub(super) const MOST: usize = 1000;

/// 192 random bits.
const BYTES: usize = 24;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Too many are outstanding.
    #[error("{MOST} streams are waiting for their clients; try again in a minute")]
    TooMany,
    /// The system gives no random bytes.
    #[error("random bytes for a stream's token: {0}")]
    Random(Errno),
}

/// The outstanding tokens and what each stands for.
pub(super) struct Tokens<T> {
    // Looked up by a hash under a random key, so the time it takes tells nothing about other tokens.
    waiting: HashMap<String, Waiting<T>>,
}

struct Waiting<T> {
    value: T,
    since: Instant,
}

impl<T> Default for Tokens<T> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
        }
    }
}

impl<T> fmt::Debug for Tokens<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("waiting", &self.waiting.len())
            .finish()
    }
}

impl<T> Tokens<T> {
    /// A new token for `value`.
    pub(super) fn issue(&mut self, value: T, now: Instant) -> Result<String, TokenError> {
        self.waiting.retain(|_, waiting| waiting.is_fresh(now));
        if self.waiting.len() >= MOST {
            return Err(TokenError::TooMany);
        }
        let mut random = [0; BYTES];
        // Up to 256 bytes come whole.
        getrandom(&mut random, GetRandomFlags::empty()).map_err(TokenError::Random)?;
        let token = URL_SAFE_NO_PAD.encode(random);
        self.waiting.insert(token.clone(), Waiting { value, since: now });
        Ok(token)
    }

    /// What a token stands for, once.
    pub(super) fn claim(&mut self, token: &str, now: Instant) -> Option<T> {
        let waiting = self.waiting.remove(token)?;
        waiting.is_fresh(now).then_some(waiting.value)
    }
}

impl<T> Waiting<T> {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < LIFE
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_works_once() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let (one, two) = (tokens.issue(1, now).unwrap(), tokens.issue(2, now).unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 32);
        assert!(
            one.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
        assert_eq!(tokens.claim(&two, now), Some(2));
        assert_eq!(tokens.claim(&two, now), None);
        assert_eq!(tokens.claim(&one[1..], now), None);
        assert_eq!(tokens.claim("", now), None);
        assert_eq!(tokens.claim(&one, now), Some(1));
    }

    #[test]
    fn a_token_lives_for_a_minute() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let (early, late) = (tokens.issue(1, now).unwrap(), tokens.issue(2, now).unwrap());
        assert_eq!(
            tokens.claim(&early, now + LIFE - Duration::from_millis(1)),
            Some(1)
        );
        assert_eq!(tokens.claim(&late, now + LIFE), None);
    }

    #[test]
    fn there_is_room_again_after_a_minute() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let all: Vec<_> = (0..MOST).map(|n| tokens.issue(n, now).unwrap()).collect();
        assert!(matches!(tokens.issue(0, now), Err(TokenError::TooMany)));
        assert_eq!(tokens.claim(&all[7], now), Some(7));
        tokens.issue(0, now).unwrap();
        assert!(matches!(tokens.issue(0, now), Err(TokenError::TooMany)));
        tokens.issue(0, now + LIFE).unwrap();
        assert_eq!(tokens.waiting.len(), 1);
    }

    #[test]
    fn tokens_are_not_shown() {
        let mut tokens = Tokens::default();
        let token = tokens.issue((), Instant::now()).unwrap();
        assert!(!format!("{tokens:?}").contains(&token));
    }
}
