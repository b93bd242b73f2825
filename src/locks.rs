//! One lock for each name: calls about one pod wait for each other, calls about different pods do not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Locks by name. A lock exists as long as somebody holds it or waits for it.
#[derive(Default)]
pub struct Locks {
    by_name: Mutex<HashMap<String, Weak<RwLock<()>>>>,
}

impl Locks {
    /// Waits until nobody else holds `name`.
    pub async fn exclusive(&self, name: &str) -> OwnedRwLockWriteGuard<()> {
        self.lock(name).write_owned().await
    }

    /// Waits until nobody holds `name` exclusively.
    pub async fn shared(&self, name: &str) -> OwnedRwLockReadGuard<()> {
        self.lock(name).read_owned().await
    }

    fn lock(&self, name: &str) -> Arc<RwLock<()>> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = by_name.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        by_name.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        by_name.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_name_is_held_by_one_and_forgotten_by_all() {
        let locks = Locks::default();
        let held = locks.exclusive("a").await;
        let other = locks.exclusive("b").await;
        let wait = tokio::time::timeout(Duration::from_millis(10), locks.shared("a"));
        assert!(wait.await.is_err());
        drop(held);
        let (one, two) = (locks.shared("a").await, locks.shared("a").await);
        drop((one, two, other));
        let _third = locks.shared("c").await;
        assert_eq!(
            locks.by_name.lock().map(|names| names.len()).unwrap_or_default(),
            1
        );
    }
}
