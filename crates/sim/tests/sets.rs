//! Several locks that are acquired together: all states are sound, and each mutant is noticed.

use dynamo_lock_sim::sets::{MUTANTS, configs, search};

#[test]
fn several_locks_are_sound_in_all_states() {
    for config in configs() {
        let found = search(&config, None);
        assert!(found.violation.is_none(), "{}: {:?}", config.name, found.violation);
        assert!(found.states > 1_000, "{}: only {} states", config.name, found.states);
    }
}

/// Each mutant breaks one property in a few steps. The search is worth nothing if one of them survives.
#[test]
fn each_mutant_of_several_locks_is_noticed() {
    let expected = [
        ("unsorted", "wait for each other"),
        ("keeps-rest", "wait for each other"),
        ("no-look", "was lost before"),
        ("gives-back-awaited-only", "still holds a lock"),
        ("keeps-others-after-loss", "still holds a lock"),
    ];
    for ((name, mutant), (expected_name, text)) in MUTANTS.into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        let violations: Vec<_> = configs().iter().filter_map(|config| search(config, Some(mutant)).violation).collect();
        let shortest = violations.iter().min_by_key(|(path, _)| path.len());
        let (path, violation) = shortest.unwrap_or_else(|| panic!("{name} is not noticed"));
        assert!(violation.contains(text), "{name}: {violation}");
        assert!(path.len() <= 8, "{name}: {path:?}");
    }
}
