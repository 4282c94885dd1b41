//! dynamo-lock
pub mod clock;
pub mod store;
pub use clock::{Clock, Random, SystemClock, SystemRandom};
pub use dynamo_lock_protocol::*;
pub use store::memory::Memory;
#[cfg(feature = "sqlite")]
pub use store::sqlite::Sqlite;
pub use store::{Answer, Consistency, Store, StoreError, StoreErrorKind};
