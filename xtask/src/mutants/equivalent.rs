//! Mutants that make no difference to what is promised, each with the argument.

/// By name.
pub const ALL: &[(&str, &str)] = &[];
