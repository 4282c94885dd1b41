//! The commands, one file or folder each.

pub mod cost;
pub mod doctor;
pub mod hold;
pub mod list;
pub mod man;
pub mod policy;
pub mod reset;
pub mod revoke;
pub mod run;
pub mod show;
pub mod table;
mod template;
#[cfg(feature = "ui")]
pub mod ui;
