//! DynamoDB store, which sends each op as one conditional write through the official SDK.

#[cfg(all(feature = "config", feature = "default-https-client"))]
mod ca_bundle;
mod condition_check;
#[cfg(feature = "config")]
mod config;
mod credentials_error;
mod date_source;
mod error;
mod error_chain;
#[cfg(feature = "config")]
pub mod examination;
mod expression;
mod fence;
pub mod iam;
mod identity;
mod item;
mod response_reader;
mod shape;
mod store;
mod table;
mod table_definition;

#[doc(hidden)]
pub use self::error::SenderError;
pub use self::fence::FenceExpression;
pub use self::store::DynamoDb;
pub use self::table::{TableError, TableFault};
pub use self::table_definition::{TableDefinition, TableOptions};
