//! dynamo-lock
pub mod clock;
pub mod store;
pub use clock::{Clock, Random, SystemClock, SystemRandom};
pub use dynamo_lock_protocol::*;
#[cfg(feature = "dynamodb")]
pub use store::dynamodb::{DynamoDb, FenceExpression, TableError, TableFault, TableOptions};
pub use store::memory::Memory;
pub use store::{Answer, Consistency, Store, StoreError, StoreErrorKind};
