//! Looks for two holders.

fn main() {}
