//! dynamo-lock
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod store;
pub use clock::{Clock, Random, SystemClock, SystemRandom};
pub use dynamo_lock_protocol::*;
pub use store::memory::Memory;
pub use store::{Answer, Consistency, Store, StoreError, StoreErrorKind};
