//! Tests of the command line that share one binary, because each runs `dynamo-lock` as a process of its own.

mod alarms;
mod at_least;
mod contention;
mod cost;
mod data_blocks;
mod documents;
mod drill;
mod environment;
mod errors;
mod examples;
mod forever;
mod hold;
mod json;
mod listing;
mod manual;
mod metrics_file;
mod nohup;
mod once;
mod policy;
mod progress;
mod ready_file;
mod recipes;
mod report;
mod request_count;
mod revoke;
mod run;
mod several;
mod sharing;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod template;
mod ui;
mod usage;
mod verbose;
mod watch;
