//! What several tests share.
#![allow(dead_code, clippy::disallowed_methods)] // not every test uses all of it; a fault's delay is tokio's own

pub mod dynoxide;
