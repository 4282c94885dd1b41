//! Actors of a world: the workers that use locks, and the other writers of the rows.

pub mod composed;
pub mod external_writers;
pub mod sharing;
pub mod worker;

/// Time within which all workers must finish once faults are off.
pub const FINISH: std::time::Duration = std::time::Duration::from_secs(400);
