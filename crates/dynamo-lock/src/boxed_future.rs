//! Futures of object-safe traits.

use std::pin::Pin;

/// Boxed future, so that [`Store`](crate::Store) and [`Clock`](crate::clock::Clock) stay object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
