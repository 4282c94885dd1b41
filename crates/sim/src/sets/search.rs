//! Breadth-first search over all states.

use std::collections::HashSet;

use super::{Action, Config, Mutant, World};

/// Result of a search.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    /// Length of the longest of the shortest ways.
    pub depth: usize,
    /// Shortest way to a violation, and its description.
    pub violation: Option<(Vec<Action>, String)>,
}

/// Searches all states of a configuration, or until a property does not hold.
pub fn search(config: &Config, mutant: Option<Mutant>) -> Found {
    let initial = World::new(config, mutant);
    let mut known = HashSet::from([initial.clone()]);
    // The way to a state, as the number of the state before it and the event between them.
    let mut origins = vec![(0, Action::Look(0))];
    let mut frontier = vec![(initial, 0)];
    let mut depth = 0;
    loop {
        let mut next = Vec::new();
        for (world, number) in frontier {
            let successors = match world.successors(mutant) {
                Ok(successors) => successors,
                Err((action, violation)) => {
                    let violation = Some((path(&origins, number, action), violation));
                    return Found { states: known.len(), depth, violation };
                }
            };
            for (action, successor) in successors {
                if known.insert(successor.clone()) {
                    next.push((successor, origins.len()));
                    origins.push((number, action));
                }
            }
        }
        if next.is_empty() {
            return Found { states: known.len(), depth, violation: None };
        }
        depth += 1;
        frontier = next;
    }
}

fn path(origins: &[(usize, Action)], mut number: usize, last: Action) -> Vec<Action> {
    let mut actions = vec![last];
    while number != 0 {
        let (before, action) = origins[number];
        actions.push(action);
        number = before;
    }
    actions.reverse();
    actions
}
