//! The DynamoDB store.

mod answers;
mod aws_config;
mod requests;
mod table;
