//! Virtual hosts, faulty links and an in-process DynamoDB for the tests of dynamo-lock.
#![allow(missing_docs)]

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
pub mod hosts;
