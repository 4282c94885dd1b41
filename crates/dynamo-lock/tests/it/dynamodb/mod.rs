//! The DynamoDB store, on an in-process DynamoDB.

mod answers;
mod requests;
mod table;
