//! The Rust code of the documents, as documentation tests. It is a crate of its own, so that the published crates
//! contain only files that are below their folders.

/// The README of the repository.
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// The recipes.
#[doc = include_str!("../../../docs/recipes.md")]
pub struct Recipes;

/// The quick start in Rust.
#[doc = include_str!("../../../docs/start/rust.md")]
pub struct QuickStart;

/// The README of the library's crate.
#[doc = include_str!("../../dynamo-lock/README.md")]
pub struct LibraryReadme;
