//! Store URLs: parsing, printing and opening.

mod error;
mod opened;
mod parse;
mod store_url;

pub use self::error::UrlError;
pub use self::opened::OpenedStore;
pub use self::store_url::{DynamoDbUrl, StoreUrl};
