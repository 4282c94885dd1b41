//! A resource that notices two valid guards at the same time, and tokens that do not grow.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use test_support::lock;

/// Resource that one lock protects.
#[derive(Debug, Default)]
pub struct Resource(Mutex<State>);

/// Number of a use.
type UseId = u64;

#[derive(Debug, Default)]
struct State {
    last: UseId,
    /// Uses that have not ended, each with those that overlap it.
    inside: HashMap<UseId, Vec<UseId>>,
    /// Uses whose guard was valid from before their beginning until after their end.
    valid: HashSet<UseId>,
    /// Largest token of a valid use.
    largest: u64,
    acquired: HashSet<u64>,
}

/// One use of the resource. Its guard was valid before it began.
#[derive(Debug)]
pub struct Use {
    id: UseId,
    token: u64,
    /// Largest token of an earlier valid use.
    largest_before: u64,
}

impl Resource {
    /// Takes note of an acquisition.
    ///
    /// # Errors
    /// A description of the violation if an earlier acquisition had the same token.
    pub fn acquired(&self, token: u64) -> Result<(), String> {
        let is_new = lock(&self.0).acquired.insert(token);
        if is_new { Ok(()) } else { Err(format!("C: two acquisitions have the token {token}")) }
    }

    /// Begins a use. The caller has just seen that its guard is valid.
    pub fn enter(&self, token: u64) -> Use {
        let mut state = lock(&self.0);
        state.last += 1;
        let id = state.last;
        let overlapping: Vec<UseId> = state.inside.keys().copied().collect();
        state.inside.values_mut().for_each(|other| other.push(id));
        state.inside.insert(id, overlapping);
        Use { id, token, largest_before: state.largest }
    }

    /// Ends a use. `is_valid` returns whether its guard is valid now.
    ///
    /// # Errors
    /// A description of the violation if another guard was valid at the same time, or if its token is larger.
    pub fn leave(&self, used: &Use, is_valid: impl FnOnce() -> bool) -> Result<(), String> {
        let overlapping = lock(&self.0).inside.remove(&used.id).unwrap_or_default();
        // After it was removed, so that the guard was valid as long as the use was inside.
        if !is_valid() {
            return Ok(());
        }
        let mut state = lock(&self.0);
        state.valid.insert(used.id);
        state.largest = state.largest.max(used.token);
        if overlapping.iter().any(|other| state.valid.contains(other)) {
            return Err(format!("A: the guard with token {} and another one were valid at once", used.token));
        }
        if used.token < used.largest_before {
            return Err(format!("C: token {} was used after token {}", used.token, used.largest_before));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_valid_uses_are_a_violation() {
        for first_ends_first in [true, false] {
            let resource = Resource::default();
            let (one, two) = (resource.enter(1), resource.enter(2));
            let (first, second) = if first_ends_first { (&one, &two) } else { (&two, &one) };
            assert_eq!(resource.leave(first, || true), Ok(()));
            assert!(resource.leave(second, || true).is_err_and(|violation| violation.starts_with("A")));
        }
    }

    #[test]
    fn use_that_ends_invalid_is_no_violation() {
        let resource = Resource::default();
        let (one, two) = (resource.enter(1), resource.enter(2));
        assert_eq!(resource.leave(&one, || false), Ok(()));
        assert_eq!(resource.leave(&two, || true), Ok(()));
    }

    #[test]
    fn smaller_or_repeated_token_is_a_violation() {
        let resource = Resource::default();
        assert_eq!(resource.leave(&resource.enter(2), || true), Ok(()));
        assert!(resource.leave(&resource.enter(1), || true).is_err_and(|violation| violation.starts_with("C")));
        assert_eq!((resource.acquired(1), resource.acquired(2)), (Ok(()), Ok(())));
        assert!(resource.acquired(2).is_err());
    }
}
