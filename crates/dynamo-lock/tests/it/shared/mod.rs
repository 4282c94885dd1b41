//! Semaphores and read/write locks.

mod rw_lock;
mod semaphore;
