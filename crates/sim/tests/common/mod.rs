//! Searches of small configurations.

use dynamo_lock_sim::explore::{self, Context, configs, search::Found, trace};
use dynamo_lock_sim::mutants::MutantConfig;

/// Upper bound of the states of these configurations.
const STATES_MAX: usize = 400_000;

/// Returns the result of a search, and the trace of its counterexample.
pub fn explored(name: &str, mutant: &MutantConfig) -> (Found, String) {
    let config = configs::find(name).expect("the configuration exists");
    let context = Context { config: &config, mutant };
    let found = explore::search::search(&context, STATES_MAX);
    let trace = found.violation.as_ref().map(|(path, violation)| trace::print(path, violation, &context));
    (found, trace.unwrap_or_default())
}

pub fn assert_sound(name: &str) {
    let (found, trace) = explored(name, &MutantConfig::NONE);
    assert!(found.violation.is_none(), "{name}:\n{trace}");
    assert!(found.exhausted, "{name} has more than {STATES_MAX} states");
    assert!(found.states > 1_000, "{name} has only {} states, so nothing happens in it", found.states);
}
