//! Locks in the format of npm dynamo-lock 0.1.x.

mod get_lock;
mod npm_client;
