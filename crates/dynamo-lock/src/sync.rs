//! Mutexes, and their locking.

pub(crate) use std::sync::Mutex;
use std::sync::{MutexGuard, PoisonError};

/// Locks a mutex, even if a thread panicked while it held the mutex. The data in this crate's mutexes is consistent at
/// all times, because no code that may panic runs between two related changes.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
