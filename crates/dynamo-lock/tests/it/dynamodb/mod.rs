//! The DynamoDB store.

mod answers;
mod aws_config;
mod credentials;
mod requests;
mod table;
