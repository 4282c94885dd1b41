//! Everything that people see: messages, log, progress, prompts, and the layout of locks.

pub mod escape;
pub mod format;
pub mod log;
pub mod output;
pub mod progress;
pub mod prompt;
pub mod table;
pub mod view;
