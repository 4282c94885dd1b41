//! The integration tests of the library. They are one binary, because linking the AWS SDK takes minutes.

mod acquire;
mod cancellation;
mod clocks;
mod conformance;
mod dynamodb;
mod examples;
mod hold;
mod invalid_input;
mod loss;
mod machine;
mod npm_format;
mod release;
mod revoke;
#[cfg(unix)]
mod sqlite;
mod tokens;
mod url;
mod waiting;
