//! Semaphores and read/write locks.

mod liveness;
mod rw_lock;
mod semaphore;
