//! Bodies of the fuzz targets. Each has one function that panics if a property is violated. The tests of the library
//! run the same files with generated input.

pub mod answers;
pub mod rows;
pub mod urls;
