//! Everything that people see: messages, progress, prompts, and the layout of locks.

pub mod escape;
pub mod format;
pub mod output;
pub mod progress;
pub mod prompt;
pub mod table;
pub mod view;
