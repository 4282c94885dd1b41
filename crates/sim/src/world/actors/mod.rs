//! Actors of a world: the workers that use locks, and the other writers of the rows.

pub mod external_writers;
pub mod worker;
