//! The causes of an error of the AWS SDK.

use std::error::Error;

/// Errors in the chain of an SDK error that are searched and printed. The limit ends a cyclic chain.
const CAUSES_MAX: usize = 16;

/// Returns the error and its causes, outermost first.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source()).take(CAUSES_MAX)
}

/// Returns the texts of an error and its causes, outermost first.
pub(super) fn texts(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
