//! Breadth-first search: every state within a configuration, and the shortest way to a violation.

use std::collections::HashSet;

use super::{
    Context, Violation, World, actions::Action, actions::enabled, actions::successor, fingerprint::fingerprint,
    quiescence, quiescence::Counterexample,
};

const THREADS: usize = 2;
/// Frontiers are worked off in slices of this number of states, so that their successors fit the memory.
const SLICE: usize = 100_000;

/// Result of a search.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    pub transitions: usize,
    /// Number of different continuations.
    pub continuations: usize,
    /// Length of the longest of the shortest ways.
    pub depth: usize,
    /// All states were seen; else the limit was hit or something was found.
    pub exhausted: bool,
    pub violation: Option<(Vec<Action>, Violation)>,
}

pub type Visited = HashSet<u128>;

/// First way in which a state was reached.
struct Origin {
    parent: u32,
    action: Action,
}

struct Reached {
    print: u128,
    origin: Origin,
    world: World,
}

#[derive(Default)]
struct Batch {
    reached: Vec<Reached>,
    transitions: usize,
    violation: Option<(Origin, Counterexample)>,
}

/// Looks at every state, at most `limit`.
pub fn search(context: &Context<'_>, limit: usize) -> Found {
    let initial = World::initial(context.config);
    let mut visited = Visited::default();
    visited.insert(fingerprint(&initial));
    let mut origins = vec![Origin { parent: 0, action: Action::Tick }];
    let mut frontier = vec![(0_u32, initial)];
    let mut good: [Visited; THREADS] = Default::default();
    let mut found = Found { states: 1, transitions: 0, continuations: 0, depth: 0, exhausted: false, violation: None };
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for slice in frontier.chunks(SLICE) {
            for batch in expand(slice, &visited, &mut good, context) {
                found.transitions += batch.transitions;
                for Reached { print, origin, world } in batch.reached {
                    if visited.insert(print) {
                        next.push((origins.len() as u32, world));
                        origins.push(origin);
                    }
                }
                if let (None, Some((origin, (rest, violation)))) = (&found.violation, batch.violation) {
                    found.violation = Some(([path(&origins, origin), rest].concat(), violation));
                }
            }
            found.states = visited.len();
            found.continuations = good.iter().map(Visited::len).sum();
            if found.violation.is_some() || found.states > limit {
                return found;
            }
        }
        found.depth += usize::from(!next.is_empty());
        frontier = next;
    }
    found.exhausted = true;
    found
}

fn expand(
    slice: &[(u32, World)],
    visited: &Visited,
    good: &mut [Visited; THREADS],
    context: &Context<'_>,
) -> Vec<Batch> {
    let share = slice.len().div_ceil(THREADS);
    if share < 64 {
        return vec![expand_one(slice, visited, &mut good[0], context)];
    }
    std::thread::scope(|scope| {
        let shares = slice.chunks(share).zip(good);
        let threads: Vec<_> =
            shares.map(|(chunk, good)| scope.spawn(move || expand_one(chunk, visited, good, context))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    })
}

fn expand_one(chunk: &[(u32, World)], visited: &Visited, good: &mut Visited, context: &Context<'_>) -> Batch {
    let mut batch = Batch::default();
    let mut here = Visited::default();
    for (parent, world) in chunk {
        for action in enabled(world, context) {
            let origin = Origin { parent: *parent, action };
            match successor(world, action, context) {
                Ok(None) => {}
                Ok(Some(world)) => {
                    batch.transitions += 1;
                    let print = fingerprint(&world);
                    if !visited.contains(&print) && here.insert(print) {
                        if let Some(counterexample) = quiescence::check(&world, context, good) {
                            batch.violation = Some((origin, counterexample));
                            return batch;
                        }
                        batch.reached.push(Reached { print, origin, world });
                    }
                }
                Err(end) => {
                    batch.violation = Some((origin, (Vec::new(), end.1)));
                    return batch;
                }
            }
        }
    }
    batch
}

fn path(origins: &[Origin], last: Origin) -> Vec<Action> {
    let mut actions = vec![last.action];
    let mut at = last.parent;
    while at != 0 {
        let origin = &origins[at as usize];
        actions.push(origin.action);
        at = origin.parent;
    }
    actions.reverse();
    actions
}
